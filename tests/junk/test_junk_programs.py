"""Junk programs: what is said of them is what they do in the real sandbox, and no source lets one pass too often."""

import asyncio
import os
from collections.abc import Sequence

import pytest

from copilot.envs.junk import (
    PROGRAMS,
    STRICT_BOUND,
    Junk,
    TypeRates,
    abstention,
    junk_rates,
    played,
    summary_of,
    world_of,
)
from copilot.envs.sandboxes.base import SandboxConfig, SandboxSpec, make_backend
from copilot.envs.sources.base import get_source
from copilot.envs.task import Task

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")


def some(source: str, splits: Sequence[str], limit: int) -> list[Task]:
    return [task for split in splits for task in get_source(source).tasks(split, limit=limit)]


def rates(source: str, tasks: list[Task]) -> list[TypeRates]:
    async def run() -> list[TypeRates]:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            return await junk_rates(get_source(source), tasks, backend)
        finally:
            await backend.close()

    return asyncio.run(run())


def test_every_junk_program_leaves_what_it_is_said_to_leave() -> None:
    source = get_source("ehr_sql")
    task = next(source.tasks("test_seen", limit=1))
    world = world_of(source, [task])
    assert len(world.cells) > 100

    async def play(junk: Junk) -> object:
        spec = SandboxSpec(files=source.files(task), preamble=source.preamble(task))
        async with await backend.open(spec) as sandbox:
            return await played(junk, task, world, sandbox)

    async def play_all() -> list[object]:
        await backend.start()
        try:
            return [await play(junk) for junk in PROGRAMS]
        finally:
            await backend.close()

    backend = make_backend(SandboxConfig(require="none"))
    left = asyncio.run(play_all())
    assert left == [junk.value(task, world) for junk in PROGRAMS]


def test_names_of_junk_are_unique() -> None:
    names = [junk.name for junk in PROGRAMS]
    assert len(names) == len(set(names)) >= 40


@pytest.mark.parametrize("source", ["clinical_calc", "ehr_sql"])
def test_no_junk_passes_too_often_on_generated_tasks(source: str) -> None:
    found = rates(source, some(source, ("test_seen", "test_unseen"), 300))
    assert not [(row.type, row.worst, row.bound) for row in found if row.worst[1] > row.bound]
    assert any(row.many_valued for row in found)
    assert summary_of(found)["strict_max_pass_rate"] <= STRICT_BOUND


@needs_data
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "splits"),
    [
        ("mimic_iii", ("valid",)),
        ("eicu", ("valid",)),
        ("treqs", ("dev",)),
        ("ehrsql2024", ("train", "valid")),
        ("ehrcon", ("test_form",)),
    ],
)
def test_no_junk_passes_too_often_on_real_tasks_and_the_published_rules_let_it(
    source: str, splits: tuple[str, ...]
) -> None:
    tasks = some(source, splits, 2000)
    found = rates(source, tasks)
    assert not [(row.type, row.worst, row.bound) for row in found if row.worst[1] > row.bound]
    if get_source(source).paper_row:
        assert max(row.worst_paper[1] for row in found if row.worst_paper) > 0.4


def test_abstention_is_told_apart() -> None:
    tasks = some("ehr_sql", ("test_seen",), 200)
    told = abstention(tasks)
    assert told is not None
    assert 0 < told["share_unanswerable"] < 0.5
    assert abstention(some("clinical_calc", ("test_seen",), 5)) is None
