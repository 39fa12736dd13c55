"""The store loses nothing that was complete, whatever byte a run dies at."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from copilot.data.store import StoreReport, TrajectoryWriter, encode, finished_keys, read_trajectories
from copilot.data.trajectory import Outcome, TokenRow, Trajectory, TurnSpan
from copilot.errors import DataError


def fill(path: Path, trajectories: list[Trajectory]) -> bytes:
    with TrajectoryWriter(path) as writer:
        for trajectory in trajectories:
            writer.append(trajectory)
    return path.read_bytes()


def read(path: Path) -> tuple[list[Trajectory], StoreReport]:
    report = StoreReport()
    found = list(read_trajectories(path, report=report))
    total = report.kept + report.duplicates + report.retried + report.bad + report.half + sum(report.foreign.values())
    assert report.lines == total
    assert report.kept == len(found)
    return found, report


def test_round_trip_over_sorted_shards(tmp_path: Path, make: Any) -> None:
    a, b, c = (make.trajectory(attempt=i) for i in range(3))
    fill(tmp_path / "rank1.jsonl", [c])
    fill(tmp_path / "rank0.jsonl", [a, b])
    assert read(tmp_path)[0] == [a, b, c]
    assert finished_keys(tmp_path) == {("demo/train/0", i) for i in range(3)}


def test_cut_at_every_byte_keeps_all_complete_lines(tmp_path: Path, make: Any) -> None:
    wanted = [make.trajectory(attempt=i, rows=()) for i in range(3)]
    path = tmp_path / "rank0.jsonl"
    data = fill(path, wanted)
    for cut in range(len(data), -1, -1):
        os.truncate(path, cut)
        found, report = read(path)
        assert found == wanted[: data[:cut].count(b"\n")]
        assert report.half == (cut > 0 and data[cut - 1 : cut] != b"\n")
        assert report.bad == 0


def test_the_next_writer_moves_a_half_line_aside_wherever_it_was_cut(tmp_path: Path, make: Any) -> None:
    data = b"".join(encode(make.trajectory(attempt=i, rows=())) for i in range(2))
    again = make.trajectory(task_id="demo/train/é")
    first = data.index(b"\n") + 1
    for cut in [0, 1, first - 1, first, first + 1, *range(first + 60, len(data), 190), len(data) - 1, len(data)]:
        path = tmp_path / f"cut{cut}.jsonl"
        path.write_bytes(data[:cut])
        kept = data[: data.rfind(b"\n", 0, cut) + 1]
        assert fill(path, [again]) == kept + encode(again)
        assert len(read(path)[0]) == kept.count(b"\n") + 1
        aside, tail = path.with_suffix(".broken"), data[len(kept) : cut]
        assert (aside.read_bytes() if aside.exists() else b"") == (tail + b"\n" if tail else b"")


def test_half_lines_of_several_crashes_are_all_kept_aside(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "rank0.jsonl"
    for tail in (b'{"task', b'{"other"'):
        with open(path, "ab") as file:
            file.write(tail)
        with TrajectoryWriter(path) as writer:
            assert writer.rescued_bytes == len(tail)
    assert path.with_suffix(".broken").read_bytes() == b'{"task\n{"other"\n'
    assert path.read_bytes() == b""


def test_a_half_line_longer_than_a_block_is_moved_whole(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "rank0.jsonl"
    line = fill(path, [make.trajectory()])
    with open(path, "ab") as file:
        file.write(b"x" * 200_000)
    assert fill(path, []) == line
    assert path.with_suffix(".broken").stat().st_size == 200_001


def test_corrupt_line_in_the_middle_is_skipped_and_named(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "rank0.jsonl"
    first, last = make.trajectory(attempt=0), make.trajectory(attempt=1)
    path.write_bytes(encode(first) + b'{"schema_version": 1, "task_id": 3}\n' + b"\x00\xff\n" + b"\n" + encode(last))
    found, report = read(path)
    assert found == [first, last]
    assert report.bad == 3
    assert report.problems[0].startswith(f"{path}:2 no trajectory")


def test_first_finished_of_a_key_counts(tmp_path: Path, make: Any) -> None:
    masked, other = make.trajectory(failed=True), make.trajectory(attempt=1, failed=True)
    first, second = make.trajectory(seed=1), make.trajectory(seed=2)
    fill(tmp_path / "rank0.jsonl", [masked, other, first, masked])
    fill(tmp_path / "rank1.jsonl", [second, other])
    found, report = read(tmp_path)
    assert found == [first, other]
    assert (report.duplicates, report.retried) == (1, 3)
    assert finished_keys(tmp_path) == {first.key}


def test_foreign_schema_is_an_error_with_counts_after_the_readable_ones(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "rank0.jsonl"
    good = make.trajectory()
    same_shape = json.loads(encode(good)) | {"schema_version": 2}
    path.write_bytes(encode(good) + json.dumps(same_shape).encode() + b'\n{"schema_version": 9, "new": 1}\n')
    report, seen = StoreReport(), []
    with pytest.raises(DataError, match="1 of version 2, 1 of version 9") as caught:
        seen.extend(read_trajectories(path, report=report))
    assert report.foreign == {"2": 1, "9": 1}
    assert report.kept == 1
    assert caught.value.remedy


def test_missing_store_is_an_error_and_has_no_finished_keys(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such trajectory"):
        list(read_trajectories(tmp_path / "none"))
    with pytest.raises(DataError, match=r"no \*\.jsonl shard"):
        list(read_trajectories(tmp_path))
    assert finished_keys(tmp_path / "none") == set()


def test_a_shard_has_one_writer(tmp_path: Path) -> None:
    with TrajectoryWriter(tmp_path / "rank0.jsonl"), pytest.raises(DataError, match="another process"):
        TrajectoryWriter(tmp_path / "rank0.jsonl")
    TrajectoryWriter(tmp_path / "rank0.jsonl").close()


def test_hostile_answers_are_stored_and_read_back(tmp_path: Path, make: Any) -> None:
    hostile = ["\ud800x", {"k\udfff": [float("nan"), 10**40]}, "line\nfeed\u2028"]
    stored = [make.trajectory(attempt=i, outcome=Outcome(answer=a)) for i, a in enumerate(hostile)]
    fill(tmp_path / "a.jsonl", stored)
    found, report = read(tmp_path)
    assert report.bad == 0
    assert [t.outcome.answer for t in found] == ["?x", {"k?": [None, 10**40]}, "line\nfeed\u2028"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_logprobs_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        TokenRow(ids=(1,), mask=(1,), logprobs=(value,), spans=(TurnSpan(turn=0, start=0, end=1),))


def _append_forever(path: Path, started: Event, make_one: Callable[..., Trajectory]) -> None:
    done = len(finished_keys(path.parent))
    with TrajectoryWriter(path) as writer:
        started.set()
        for attempt in range(done, 10**6):
            writer.append(make_one(attempt=attempt))


def test_killed_writers_leave_every_line_once_and_byte_identical(tmp_path: Path, make: Any) -> None:
    path, context, before = tmp_path / "rank0.jsonl", multiprocessing.get_context("fork"), b""
    for round_number in range(8):
        started = context.Event()
        process = context.Process(target=_append_forever, args=(path, started, make.trajectory))
        process.start()
        assert started.wait(30)
        while path.stat().st_size < len(before) + 2000 + 777 * round_number:
            os.sched_yield()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        now = path.read_bytes()
        assert now.startswith(before)
        before = now[: now.rfind(b"\n") + 1]
        attempts = [t.attempt for t in read(tmp_path)[0]]
        assert attempts == list(range(len(attempts)))
