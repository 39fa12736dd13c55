"""Shipped suites are frozen: the bytes are those that were hashed before any training, and nothing leaks."""

import os

import pytest

from copilot.envs.sources.base import get_source
from copilot.envs.suites import SHIPPED, cuts_of, find_suite, frozen_hashes, read_suite, suite_hash

HASHES = frozen_hashes()
WHOLE = sorted(path.stem for path in SHIPPED.glob("*.jsonl"))
CUT = sorted(path.name.removesuffix(".cuts.json") for path in SHIPPED.glob("*.cuts.json"))


def test_every_shipped_suite_has_a_hash() -> None:
    assert {*WHOLE, *CUT} == set(HASHES)


@pytest.mark.parametrize("name", WHOLE)
def test_suite_is_the_one_that_was_frozen(name: str) -> None:
    assert suite_hash(find_suite(name)) == HASHES[name]


@pytest.mark.parametrize("name", WHOLE)
def test_no_question_is_in_two_splits(name: str) -> None:
    tasks = read_suite(find_suite(name))
    splits: dict[str, set[str]] = {}
    for task in tasks:
        splits.setdefault(task.question.casefold(), set()).add(task.split)
    assert [question for question, found in splits.items() if len(found) > 1] == []


def test_starter_holds_templates_out() -> None:
    tasks = read_suite(find_suite("starter"))
    unseen = {(t.source, t.template.split("/")[0]) for t in tasks if t.split == "test_unseen"}
    trained = {(t.source, t.template.split("/")[0]) for t in tasks if t.split in ("train", "valid", "test_seen")}
    assert unseen
    assert not unseen & trained


def test_starter_has_at_least_sixty_test_tasks_of_two_sources() -> None:
    tests = [t for t in read_suite(find_suite("starter")) if t.split.startswith("test")]
    assert len(tests) >= 60
    assert {t.source for t in tests} == {"ehr_sql", "clinical_calc"}


def test_cuts_name_sources_and_splits_that_exist() -> None:
    for name in CUT:
        for cut in cuts_of(name):
            assert cut.split in get_source(cut.source).splits, (name, cut)


@pytest.mark.parametrize("name", CUT)
def test_cuts_hold_templates_and_instances_out(name: str) -> None:
    trained = [cut for cut in cuts_of(name) if cut.as_split == "train"]
    for cut in cuts_of(name):
        for other in trained:
            if cut.source == other.source and cut.as_split == "test_unseen":
                assert cut.template_buckets[0] >= other.template_buckets[1]
            if cut.source == other.source and cut.split == other.split and cut.as_split == "test_seen":
                assert cut.task_buckets[0] >= other.task_buckets[1]


@pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", CUT)
def test_suites_built_from_open_data_are_the_frozen_ones(name: str) -> None:
    assert suite_hash(find_suite(name)) == HASHES[name]
