"""Task draws: whole passes that spread the kinds of question, difficulty, and the same draws after a kill."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from copilot.envs.suites import write_suite
from copilot.online.config import CurriculumSettings
from copilot.online.curriculum import Curriculum, evenly_spread

from .conftest import RunOnline, make_task, stage_config

IDS = [f"task{number}" for number in range(7)]


def curriculum(folder: Path, weight: float = 0.0, *, name: str = "deals.jsonl") -> Curriculum:
    return Curriculum(dict.fromkeys(IDS, ""), CurriculumSettings(weight=weight, memory=0.5), seed=3, file=folder / name)


def test_without_difficulty_every_task_comes_once_per_pass(tmp_path: Path) -> None:
    dealt = curriculum(tmp_path).deal(21)
    assert all(sorted(dealt[at : at + 7]) == IDS for at in (0, 7, 14))
    assert dealt[:7] != dealt[7:14], "each pass has an order of its own"


def test_any_stretch_of_a_pass_has_its_share_of_each_kind() -> None:
    kinds = {f"{kind}{number}": kind for kind, count in (("a", 60), ("b", 30), ("c", 6)) for number in range(count)}
    order = evenly_spread(kinds, random.Random(0))
    assert sorted(order) == sorted(kinds)
    for at in range(0, 96, 16):
        counts = Counter(kinds[task] for task in order[at : at + 16])
        assert counts["a"] in (9, 10, 11)
        assert counts["b"] in (4, 5, 6)
        assert counts["c"] <= 2
    assert order != evenly_spread(kinds, random.Random(1))
    of_a = [task for task in order if kinds[task] == "a"]
    assert of_a != [task for task in kinds if kinds[task] == "a"], "shuffled within a kind"


def test_tasks_solved_half_the_time_come_most(tmp_path: Path) -> None:
    chosen = curriculum(tmp_path, weight=1.0)
    chosen.learn(dict.fromkeys(IDS, 1.0) | {"task3": 0.5, "task4": 0.0})
    counts = Counter(chosen.deal(300))
    assert counts["task3"] > 200
    assert counts["task0"] < 30


def test_rates_have_a_memory(tmp_path: Path) -> None:
    chosen = curriculum(tmp_path)
    chosen.learn({"task0": 1.0})
    chosen.learn({"task0": 0.0, "task1": 0.25})
    assert chosen.state() == {"task0": 0.5, "task1": 0.25}


def test_kinds_that_were_never_right_are_named(tmp_path: Path) -> None:
    kinds = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"}
    chosen = Curriculum(kinds, CurriculumSettings(), seed=0, file=tmp_path / "deals.jsonl")
    chosen.learn({"a1": 0.0, "b1": 0.0, "b2": 0.25})
    assert chosen.unsolved_kinds() == ["a"], "c was not played"
    chosen.learn({"b2": 0.0, "a2": 0.5})
    assert chosen.unsolved_kinds() == []


def test_a_stage_names_what_it_never_solved(run_online: RunOnline, capsys: pytest.CaptureFixture[str]) -> None:
    one_turn = stage_config("grpo", "")["rollout"] | {"max_turns": 1}
    (record,) = run_online("grpo", "cell", steps=1, rollout=one_turn, dynamic_sampling={"enabled": False})
    assert record["kinds_unsolved"] == 1
    assert "never right in rollouts: clinical_calc/" in capsys.readouterr().out


def test_a_killed_run_deals_the_same(tmp_path: Path) -> None:
    whole = curriculum(tmp_path, weight=0.5, name="whole").deal(30)
    first = curriculum(tmp_path, weight=0.5)
    first.deal(11)
    with open(tmp_path / "deals.jsonl", "a") as file:
        file.write('{"task": "ta')
    second = curriculum(tmp_path, weight=0.5)
    assert second.dealt == whole[:11]
    assert second.deal(30) == whole[11:]
    assert curriculum(tmp_path, weight=0.5).dealt == whole


def test_a_stage_plays_its_templates_by_turns(run_online: RunOnline, suites: dict[str, str], tmp_path: Path) -> None:
    """As many tasks of each of two templates take turns in a pass, in whatever order the suite has them."""
    tasks = [make_task("arm", number).model_copy(update={"template": "ab"[number // 4]}) for number in range(8)]
    write_suite(tmp_path / "mixed.jsonl", tasks)
    suites["mixed"] = str(tmp_path / "mixed.jsonl")
    run_online("grpo", "mixed", steps=2, groups=4, group_size=2, dynamic_sampling={"enabled": False})
    deals = (tmp_path / "stage" / "deals.jsonl").read_text(encoding="utf-8").splitlines()
    templates = {task.id: task.template for task in tasks}
    played = "".join(templates[json.loads(line)["task"]] for line in deals[:8])
    assert played in ("abababab", "babababa")
