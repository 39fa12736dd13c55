"""ehr_sql: splits that never meet, references that hold, and a prompt that stays small."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot.envs.actions import ExecuteCode, Submit
from copilot.envs.check import NO_OPS
from copilot.envs.protocols.wire import encode
from copilot.envs.sources.base import get_source
from copilot.envs.sources.ehr_sql.schema import CONTEXT, NOW, TABLES
from copilot.envs.sources.ehr_sql.source import SOURCE, database, templates
from copilot.envs.sources.ehr_sql.template import BUCKETS, RESERVED_BUCKET, Template, is_tied
from copilot.envs.sources.ehr_sql.templates_seen import SEEN
from copilot.envs.sources.ehr_sql.templates_unseen import UNSEEN
from copilot.envs.sqlite_files import open_readonly, run_trusted
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import UNANSWERABLE, BooleanAnswer, UnanswerableAnswer
from copilot.reward.graders import grade


@pytest.fixture(scope="module")
def hospital() -> Iterator[sqlite3.Connection]:
    with open_readonly(database()) as con:
        yield con


@pytest.fixture(scope="module")
def some_tasks() -> list[Task]:
    """Three tasks of every template, from all splits."""
    return [
        *SOURCE.tasks("train", limit=3 * len(SEEN)),
        *SOURCE.tasks("valid", limit=len(SEEN)),
        *SOURCE.tasks("test_seen", limit=len(SEEN)),
        *SOURCE.tasks("test_unseen", limit=3 * len(UNSEEN)),
    ]


def test_there_are_enough_templates_of_every_kind() -> None:
    every = (*SEEN, *UNSEEN)
    assert len(SEEN) >= 30
    assert len(UNSEEN) >= 10
    assert len({template.key for template in every}) == len(every) >= 40
    kinds = {"lookup", "join", "aggregate", "time", "topk", "trend", "unanswerable"}
    assert {template.category for template in SEEN} == kinds
    assert {template.category for template in UNSEEN} >= kinds - {"lookup"}
    assert all(len(set(template.questions)) == len(template.questions) >= 2 for template in every)
    assert not {template.sql for template in UNSEEN if template.sql} & {template.sql for template in SEEN}


def test_the_source_is_found_by_name() -> None:
    assert get_source("ehr_sql") is SOURCE


def test_every_template_yields_tasks_and_takes_its_turn() -> None:
    for split in SOURCE.splits:
        wanted = [template.key for template in templates(split)]
        assert [task.template for task in SOURCE.tasks(split, limit=len(wanted))] == wanted


def test_an_instance_is_in_one_split_at_most(hospital: sqlite3.Connection) -> None:
    """Whatever the seed does: a seen instance's split depends on its slots alone."""
    shared = ("train", "valid", "test_seen")
    for template in SEEN:
        instances = list(islice(template.instances(hospital, order=random.Random(0)), 2000))
        assert len({instance.digest for instance in instances}) == len(instances)
        assert all(sum(i.belongs(split) for split in shared) == (i.bucket != RESERVED_BUCKET) for i in instances)
    assert {template.key for template in SEEN}.isdisjoint(template.key for template in UNSEEN)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seeds=st.lists(st.integers(0, 2**32), min_size=4, max_size=4))
def test_splits_share_no_question_for_any_seeds(seeds: list[int]) -> None:
    per_split = [
        list(SOURCE.tasks(split, limit=90, seed=seed)) for split, seed in zip(SOURCE.splits, seeds, strict=True)
    ]
    for key in ("id", "question"):
        values = [{(t.template, getattr(t, key).rsplit("/", 1)[-1]) for t in tasks} for tasks in per_split]
        assert sum(map(len, values)) == len(set().union(*values))


def test_same_seed_same_tasks_other_seed_other_order() -> None:
    first, again, other = (list(SOURCE.tasks("valid", limit=90, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert [t.id for t in first] != [t.id for t in other]
    wording = {t.id: t.question for t in first}
    assert all(wording.get(t.id, t.question) == t.question for t in other)


def test_every_reference_is_what_its_query_gives(hospital: sqlite3.Connection, some_tasks: list[Task]) -> None:
    assert {task.template for task in some_tasks} == {template.key for template in (*SEEN, *UNSEEN)}
    for task in some_tasks:
        if not isinstance(task.reference.answer, UnanswerableAnswer):
            sql = task.reference.program.removeprefix('answer = sql("').removesuffix('")')
            rows = [list(row) for row in run_trusted(hospital, sql, now=NOW)]
            submitted = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else rows
            assert grade(task.reference.answer, submitted).correct, task
            assert not grade(task.reference.answer, UNANSWERABLE).correct, task
        assert not any(grade(task.reference.answer, noop).correct for noop in NO_OPS), task


def test_unanswerable_questions_are_answered_by_saying_so(some_tasks: list[Task]) -> None:
    asked = [task for task in some_tasks if task.category == "unanswerable"]
    assert {task.template for task in asked} >= {"contact", "family", "social", "availability"}
    for task in asked:
        assert task.reference.answer == UnanswerableAnswer()
        assert SOURCE.demonstration(task) == (Submit(answer=UNANSWERABLE),)
        assert grade(task.reference.answer, UNANSWERABLE).correct
        assert not grade(task.reference.answer, 0).correct


def test_yes_and_no_are_about_as_frequent() -> None:
    for split, key in (("train", "was_given"), ("test_unseen", "lab_rise")):
        tasks = [t for t in SOURCE.tasks(split, limit=40 * len(templates(split))) if t.template == key]
        yes = sum(t.reference.answer == BooleanAnswer(value=True) for t in tasks)
        assert 0.3 < yes / len(tasks) < 0.7


def test_prompts_and_programs_are_short(some_tasks: list[Task]) -> None:
    """About 3.3 characters a token: 40 tokens of question, 120 of program at most and 60 on average."""
    assert max(len(task.question) for task in some_tasks) <= 132
    programs = [len(task.reference.program) for task in some_tasks if task.reference.program]
    assert max(programs) <= 400
    assert sum(programs) / len(programs) <= 190
    assert {task.context for task in some_tasks} == {CONTEXT}
    assert all(f"\n{table}(" in CONTEXT for table in TABLES)


def test_what_a_policy_sees_holds_no_reference(some_tasks: list[Task]) -> None:
    for task in some_tasks[:20]:
        assert set(task.public()) == {"id", "source", "question", "context", "permitted"}


def test_worked_example_is_in_no_split(hospital: sqlite3.Connection) -> None:
    example = SOURCE.worked_example()
    template = next(template for template in SEEN if template.key == "lab_aggregate")
    instance = next(i for i in template.instances(hospital) if i.question == example.question)
    assert not any(instance.belongs(split) for split in BUCKETS)
    (cell, shown), (submit, nothing) = example.steps
    assert isinstance(cell, ExecuteCode)
    assert cell.code == f'answer = sql("{instance.sql}")'
    assert shown == f"answer = {encode(run_trusted(hospital, instance.sql, now=NOW)[0][0])}"
    assert (submit, nothing) == (Submit(variable="answer"), "")


def test_a_limit_through_equal_keys_is_a_tie() -> None:
    with closing(sqlite3.connect(":memory:")) as con:
        con.execute("CREATE TABLE t (name TEXT, n INT)")
        con.executemany("INSERT INTO t VALUES (?, ?)", [("a", 3), ("b", 2), ("c", 2), ("d", 1)])
        top = "SELECT name FROM t ORDER BY n DESC LIMIT {}"
        assert [is_tied(con, top.format(k)) for k in (1, 2, 3, 4, 5)] == [False, True, False, False, False]
        counted = "SELECT n FROM t GROUP BY n ORDER BY count(*) DESC LIMIT {}"
        assert [is_tied(con, counted.format(k)) for k in (1, 2)] == [False, True]
        nested = "SELECT (SELECT name FROM t ORDER BY n DESC LIMIT 2)||(SELECT name FROM t ORDER BY n LIMIT {})"
        assert [is_tied(con, nested.format(k)) for k in (1,)] == [True]
        assert not is_tied(con, "SELECT (SELECT max(n) FROM t)-(SELECT n FROM t ORDER BY n LIMIT 1)")


def test_instances_without_a_good_answer_are_left_out(hospital: sqlite3.Connection) -> None:
    def references(sql: str, kind: str = "rows") -> list[object]:
        template = Template("x", "lookup", ("?",), sql, "SELECT 1 AS one", kind)  # type: ignore[arg-type]
        return [instance.reference(hospital) for instance in template.instances(hospital)]

    assert references("SELECT gender FROM patients WHERE subject_id=-{one}") == [None]
    assert references("SELECT max(age) FROM admissions WHERE age<{one}", "real") == [None]
    assert references("SELECT drug FROM prescriptions WHERE row_id>{one}") == [None]
    assert references("SELECT count(*) FROM patients WHERE subject_id={one}", "integer") == [None]
    with pytest.raises(ValueError, match="kind real"):
        references("SELECT gender FROM patients LIMIT {one}", "real")


def test_wrong_split_and_stale_tasks_are_one_clear_error(some_tasks: list[Task]) -> None:
    with pytest.raises(DataError, match="no split 'test'"):
        next(SOURCE.tasks("test"))
    stale = some_tasks[0].evolve(metadata=some_tasks[0].metadata | {"generator": 0})
    with pytest.raises(DataError, match="generator version 0"):
        SOURCE.files(stale)
    assert SOURCE.files(some_tasks[0]) == {"ehr.db": database()}
