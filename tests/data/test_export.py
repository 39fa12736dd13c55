"""Exports are read back by pyarrow and datasets, and lose nothing."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from copilot.cli import cli
from copilot.data.export import export_rows, export_trajectories, from_record, to_record
from copilot.data.rows_file import read_rows
from copilot.data.stats import store_stats
from copilot.data.store import TrajectoryWriter
from copilot.data.trajectory import Outcome, Trajectory
from copilot.errors import DataError

SFT = {"input_ids": [1, 2], "labels": [-100, 2], "task_id": "ehr_sql/train/0", "attempt": 0}
DPO = {
    "prompt_ids": [1],
    "chosen_ids": [2],
    "chosen_mask": [1],
    "rejected_ids": [3, 4],
    "rejected_mask": [1, 0],
    "task_id": "ehr_sql/train/0",
    "kind": "best_vs_worst",
}
KTO = {"prompt_ids": [1], "completion_ids": [2], "completion_mask": [1], "label": True, "task_id": "e/x", "attempt": 1}


@pytest.fixture
def varied(make: Any) -> list[Trajectory]:
    answers = [None, "text", {"rows": [[1, None, 2.5], ["ü"]]}, 10**30]
    found = [make.trajectory(attempt=i, source="ehr_sql", outcome=Outcome(answer=a)) for i, a in enumerate(answers)]
    erring = [make.code((4,), "boom", status="error", correct=False), make.invalid((5,))]
    return [*found, make.trajectory(attempt=9, source="ehr_sql", steps=erring, failed=True, rows=())]


def store(folder: Path, trajectories: list[Trajectory]) -> Path:
    with TrajectoryWriter(folder / "rank0.jsonl") as writer:
        for trajectory in trajectories:
            writer.append(trajectory)
    return folder


def test_parquet_round_trip(tmp_path: Path, varied: list[Trajectory]) -> None:
    target = tmp_path / "out" / "all.parquet"
    assert export_trajectories([store(tmp_path / "s", varied)], target) == 5
    assert [from_record(record) for record in pq.read_table(target).to_pylist()] == varied
    assert not list(target.parent.glob("*.part"))


def test_records_are_their_own_inverse(varied: list[Trajectory]) -> None:
    assert [from_record(to_record(trajectory)) for trajectory in varied] == varied


def test_datasets_folder(tmp_path: Path, varied: list[Trajectory]) -> None:
    from datasets import load_from_disk

    export_trajectories([store(tmp_path / "s", varied)], tmp_path / "hf")
    assert [from_record(record) for record in load_from_disk(str(tmp_path / "hf"))] == varied
    with pytest.raises(DataError, match="there already"):
        export_trajectories([tmp_path / "s"], tmp_path / "hf")


@pytest.mark.parametrize("row", [SFT, DPO, KTO])
def test_rows_round_trip(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "rows.jsonl").write_text((json.dumps(row) + "\n") * 3)
    assert list(read_rows(tmp_path / "rows.jsonl")) == [row] * 3
    assert export_rows(tmp_path / "rows.jsonl", tmp_path / "rows.parquet", data_use_reason="a test") == 3
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [row] * 3


@pytest.mark.parametrize(
    ("text", "message"), [("", "empty"), ('{"task_id": ', "no JSON"), ('{"task_id": "a"}\n', "no training row")]
)
def test_broken_rows_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_what_must_stay_home_is_refused_and_nothing_is_left(tmp_path: Path, make: Any) -> None:
    folder = store(tmp_path / "s", [make.trajectory(source="nobody_knows")])
    with pytest.raises(DataError, match="'nobody_knows' is unknown here"):
        export_trajectories([folder], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    assert export_trajectories([folder], tmp_path / "out.parquet", data_use_reason="agreed by the board") == 1
    note = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[b"med_copilot"])
    assert note["data_use_reason"] == "agreed by the board"


def test_credentialed_sources_are_refused(
    tmp_path: Path, varied: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    from copilot.envs.sources.base import get_source

    monkeypatch.setattr(type(get_source("ehr_sql")), "credentialed", True)
    with pytest.raises(DataError, match="data use agreement"):
        export_trajectories([store(tmp_path / "s", varied)], tmp_path / "out.parquet")


def test_stats_count(varied: list[Trajectory]) -> None:
    stats = store_stats(varied)
    assert (stats.trajectories, stats.masked, stats.turns) == (5, 1, 10)
    assert (stats.tokens, stats.sampled_tokens, stats.longest_row) == (36, 16, 9)
    assert stats.statuses["execute_code/error"] == stats.statuses["invalid/invalid"] == 1
    assert stats.failures == {"sandbox": 1}


def test_commands(tmp_path: Path, varied: list[Trajectory]) -> None:
    folder = store(tmp_path / "s", varied)
    with open(folder / "rank0.jsonl", "a") as file:
        file.write('{"half')
    told = CliRunner().invoke(cli, ["data", "stats", "--json", str(folder)])
    counts = json.loads(told.stdout)
    assert (counts["trajectories"], counts["stores"][str(folder)]["half"]) == (5, 1)
    table = CliRunner().invoke(cli, ["data", "stats", str(folder)])
    assert table.exit_code == 0
    assert "half-written line of 6 bytes" in table.stdout
    done = CliRunner().invoke(cli, ["data", "export", str(folder), str(tmp_path / "x.parquet")])
    assert done.stdout == f"{tmp_path / 'x.parquet'}: 5 trajectories\n"
    (tmp_path / "rows.jsonl").write_text(json.dumps(SFT) + "\n")
    CliRunner().invoke(cli, ["data", "export-rows", str(tmp_path / "rows.jsonl"), str(tmp_path / "r.parquet")])
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 1
