"""Shipped suites are frozen: the bytes are those that were hashed before any training, and nothing leaks."""

import json

import pytest

from copilot.envs.suites import SHIPPED, find_suite, read_suite, suite_hash

HASHES: dict[str, str] = json.loads((SHIPPED / "hashes.json").read_text(encoding="utf-8"))


def test_every_shipped_suite_has_a_hash() -> None:
    assert {path.stem for path in SHIPPED.glob("*.jsonl")} == set(HASHES)


@pytest.mark.parametrize("name", sorted(HASHES))
def test_suite_is_the_one_that_was_frozen(name: str) -> None:
    assert suite_hash(find_suite(name)) == HASHES[name]


@pytest.mark.parametrize("name", sorted(HASHES))
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
