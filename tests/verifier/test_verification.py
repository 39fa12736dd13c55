"""Figures of a verifier in closed form; what cannot be evaluated is refused with counts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot.data.store import TrajectoryWriter
from copilot.data.trajectory import TokenRow, Trajectory, TurnSpan
from copilot.errors import DataError
from copilot.report.verification import verification_plots, verification_tables
from copilot.verifier.candidates import TaskGroup, candidate, group_by_task
from copilot.verifier.scores import read_scorable, read_scores
from copilot.verifier.verification import summary, verification

Make = Callable[..., Trajectory]
Episodes = Callable[..., list[Trajectory]]


def oracle(trajectories: list[Trajectory], *, flip: bool = False) -> dict[tuple[str, int], float]:
    return {t.key: 0.9 if t.success("submitted") != flip else 0.1 for t in trajectories}


def groups(episodes: Episodes, **rest: Any) -> list[TaskGroup]:
    found = episodes(9, 4)
    return group_by_task(found, oracle(found, **rest))


def test_an_oracle_captures_all_headroom(episodes: Episodes) -> None:
    found = verification(groups(episodes), k=4)
    flat = summary(found)
    assert flat["pass_at_1"] == pytest.approx(1 / 3)
    assert flat["pass_at_4"] == flat["best_at_4"] == flat["within_task_auc"] == 1
    assert flat["headroom_captured_at_4"] == 1
    assert flat["ece"] == pytest.approx(0.1)
    # right answers are all "True": two of four attempts say False in six of nine tasks, three tie two against two
    majority = found["overall"]["selectors"]["majority"]["best_at_k"]["value"]
    assert flat["best_minus_majority"] == pytest.approx(1 - majority)
    assert flat["best_minus_majority_ci_low"] > 0
    assert found["curves"]["learned"] == pytest.approx(found["curves"]["pass"])
    assert sorted(found["curves"]["hybrid"]) == [1, 2, 4]


def test_the_summary_is_of_one_way_to_choose_and_names_the_others(episodes: Episodes) -> None:
    found = verification(groups(episodes), k=4)
    learned, hybrid = summary(found), summary(found, by="hybrid")
    assert hybrid["best_at_4"] == learned["hybrid_best_at_4"]
    assert hybrid["learned_best_minus_majority_ci_low"] == learned["best_minus_majority_ci_low"]
    with pytest.raises(DataError, match="cannot be chosen by 'likely' here, only by learned, hybrid"):
        summary(found, by="likely")


def test_likelihood_is_that_of_all_sampled_tokens(episode: Make) -> None:
    row = TokenRow(
        ids=(1, 2, 3, 4), mask=(0, 1, 0, 1), logprobs=(0.0, -0.5, 0.0, -2.0),
        spans=(TurnSpan(turn=0, start=1, end=2), TurnSpan(turn=1, start=3, end=4)),
    )  # fmt: skip
    attempt = episode(0, 0, right=True)
    assert candidate(attempt, 0.5).logprob is None
    assert candidate(attempt.evolve(rows=(row, row)), 0.5).logprob == pytest.approx(-5.0)
    assert candidate(attempt.evolve(rows=(row, row.evolve(logprobs=None))), 0.5).logprob is None


def test_a_reversed_oracle_is_worse_than_chance(episodes: Episodes) -> None:
    flat = summary(verification(groups(episodes, flip=True), k=4))
    assert flat["best_at_4"] == flat["within_task_auc"] == 0
    assert flat["headroom_captured_at_4"] == pytest.approx(-0.5)


def test_tasks_with_fewer_attempts_are_left_out_and_counted(episodes: Episodes) -> None:
    trajectories = [*episodes(4, 4), *episodes(3, 2, first=20)]
    found = verification(group_by_task(trajectories, oracle(trajectories)), k=4)
    assert (found["tasks"], found["left_out"]) == (4, 3)
    with pytest.raises(DataError, match=r"none of 7 tasks has 5 attempts \(at most 4\)"):
        verification(group_by_task(trajectories, oracle(trajectories)), k=5)


@pytest.mark.parametrize(("right", "words"), [(True, "all right"), (False, "all wrong")])
def test_one_sided_tasks_are_refused_with_counts(episode: Make, right: bool, words: str) -> None:
    trajectories = [episode(task, attempt, right=right) for task in range(3) for attempt in range(2)]
    with pytest.raises(DataError, match=f"'{words}': 3"):
        verification(group_by_task(trajectories, oracle(trajectories)), k=2)


def test_scores_never_default(episodes: Episodes, episode: Make) -> None:
    trajectories = episodes(2, 3)
    scores = oracle(trajectories)
    with pytest.raises(DataError, match="1 of 6 trajectories have no score"):
        group_by_task(trajectories, dict(list(scores.items())[1:]))
    for bad in (0.0, 1.0, float("nan")):
        with pytest.raises(DataError, match="1 of 6 scores are no numbers"):
            group_by_task(trajectories, scores | {trajectories[0].key: bad})
    with pytest.raises(DataError, match="no trajectory with an outcome"):
        group_by_task([episode(0, 0, right=False, failed=True)], {})


def test_parts_are_reported_apart(episodes: Episodes) -> None:
    trajectories = [*episodes(3, 3, split="seen"), *episodes(3, 3, first=9, split="unseen")]
    found = verification(group_by_task(trajectories, oracle(trajectories)), k=3)
    assert set(found["by_split"]) == {"seen", "unseen"}
    assert found["by_source"]["demo"]["mixed_tasks"] == 6


def test_tables_and_plots_come_from_the_json_alone(episodes: Episodes) -> None:
    found = verification(groups(episodes), k=4)
    found["by"] = "learned"
    found["uncalibrated"] = {"ece": 0.2, "reliability": found["overall"]["reliability"]}
    again = json.loads(json.dumps(found))
    texts = [[cell.text for cell in row] for table in verification_tables(again) for row in table.rows]
    assert (texts[1][0], texts[1][2]) == ("learned score *", "100.0 % [100.0, 100.0]")
    assert all(data.startswith(b"\x89PNG") for _, data in verification_plots(again).values())


def store(folder: Path, trajectories: list[Trajectory], extra: str = "") -> Path:
    with TrajectoryWriter(folder / "rank0.jsonl") as writer:
        for trajectory in trajectories:
            writer.append(trajectory)
    with open(folder / "rank0.jsonl", "a", encoding="utf-8") as file:
        file.write(extra)
    return folder


def test_stores_that_cannot_be_scored_are_refused_with_counts(tmp_path: Path, episode: Make) -> None:
    whole = episode(0, 0, right=True)
    lacking = json.loads(whole.model_dump_json())
    del lacking["outcome"]
    with pytest.raises(DataError, match="1 of 2 lines are no trajectories with an outcome"):
        read_scorable({"a": store(tmp_path / "a", [whole], json.dumps(lacking) + "\n")})
    other = json.dumps(json.loads(whole.model_dump_json()) | {"schema_version": 99}) + "\n"
    with pytest.raises(DataError, match="1 of version 99"):
        read_scorable({"b": store(tmp_path / "b", [whole], other)})
    with pytest.raises(DataError, match="nothing to score: 1 trajectories, all masked"):
        read_scorable({"c": store(tmp_path / "c", [episode(1, 0, right=False, failed=True)])})


@pytest.mark.parametrize("line", ["{}", '{"store":"s","task_id":"t","attempt":0,"score":1.0,"logit":3}', "nan"])
def test_a_line_that_is_no_score_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match="a line is no score"):
        read_scores(path)
