"""Builders by closed-form examples: what is a row, what is trained in it, and why the rest is not there."""

from collections import Counter
from typing import Any

from copilot.data.build_dpo import build_dpo
from copilot.data.build_kto import build_kto
from copilot.data.build_sft import build_sft
from copilot.data.rows import Built, Sample
from copilot.data.trajectory import Trajectory


def samples(*trajectories: Trajectory, store: str = "s") -> list[Sample]:
    return [Sample(store, trajectory) for trajectory in trajectories]


def records(built: Built) -> list[dict[str, Any]]:
    return [row.record for row in built.rows]


def reasons(built: Built) -> Counter[str]:
    return Counter(built.dropped.values())


def test_sft_masks_erroneous_turns_and_cuts_what_has_no_loss(make: Any) -> None:
    steps = [
        make.code((10, 11), status="error"),
        make.invalid((12,)),
        make.code((13, 14)),
        make.code((15,), status="timeout"),
    ]
    one = make.trajectory(steps=steps)
    (plain,) = records(build_sft(samples(one)))
    assert plain["input_ids"] == [1, 2, 3, 10, 11, 7, 8, 12, 7, 8, 13, 14, 7, 8, 15]
    assert [x for x in plain["labels"] if x != -100] == [10, 11, 12, 13, 14, 15]
    (masked,) = records(build_sft(samples(one), mask_errors=True))
    assert masked["input_ids"] == [1, 2, 3, 10, 11, 7, 8, 12, 7, 8, 13, 14]
    assert masked["labels"] == [-100] * 10 + [13, 14]


def test_sft_gives_a_row_per_fork_and_drops_what_is_too_long_or_empty(make: Any) -> None:
    forked = make.trajectory(
        rows=(
            make.row((1, 2), [make.code((10, 11))]),
            make.row((1, 2, 99, 7), [make.submit((12, 13))], first_turn=1),
        ),
        forks=1,
    )
    teacher = make.trajectory(attempt=1, rows=())
    failing = make.trajectory(attempt=2, steps=[make.code((5,), status="error")])
    built = build_sft(samples(forked, teacher, failing), mask_errors=True, max_tokens=5)
    assert [r["input_ids"] for r in records(built)] == [[1, 2, 10, 11]]
    assert built.rows_dropped == {"too many tokens": 1, "nothing to train": 1}
    assert reasons(built) == {"no token ids": 1, "nothing to train": 1}


def test_kto_rows_are_whole_trajectories_with_masked_environment(make: Any) -> None:
    wrong = make.trajectory(attempt=1, correct=False)
    built = build_kto(samples(make.trajectory(), wrong, make.trajectory(attempt=2, rows=())))
    first, second = records(built)
    assert first == {
        "prompt_ids": [1, 2, 3],
        "completion_ids": [10, 11, 7, 8, 12, 13],
        "completion_mask": [1, 1, 0, 0, 1, 1],
        "label": True,
        "task_id": "demo/train/0",
        "attempt": 0,
    }
    assert (second["label"], second["attempt"]) == (False, 1)
    assert reasons(built) == {"no token ids": 1}


def test_success_rules_differ_where_a_right_answer_was_not_submitted(make: Any) -> None:
    gave_up = make.trajectory(steps=[make.code((10,), correct=True), make.code((11,), correct=False)], correct=False)
    assert [r["label"] for r in records(build_kto(samples(gave_up)))] == [False]
    assert [r["label"] for r in records(build_kto(samples(gave_up), success="any_attempt"))] == [True]


def test_shared_prefix_pairs_within_an_episode(make: Any) -> None:
    steps = [
        make.code((20,), "import math"),
        make.code((21,), "answer = boom", status="error"),
        make.invalid((22,)),
        make.code((23, 24), "answer = math.pi", correct=True),
        make.submit((25,)),
    ]
    built = build_dpo(samples(make.trajectory(steps=steps)), kinds=["shared_prefix"])
    first, second = records(built)
    assert first == {
        "prompt_ids": [1, 2, 3, 20, 7, 8],
        "chosen_ids": [23, 24],
        "chosen_mask": [1, 1],
        "rejected_ids": [21],
        "rejected_mask": [1],
        "task_id": "demo/train/0",
        "kind": "shared_prefix",
    }
    assert second["prompt_ids"] == [1, 2, 3, 20, 7, 8, 21, 7, 8]
    assert (second["chosen_ids"], second["rejected_ids"]) == ([23, 24], [22])
    assert built.dropped == {}


def test_a_cell_that_needs_what_was_left_out_is_not_chosen(make: Any) -> None:
    steps = [
        make.code((20,), "boom", status="error"),
        make.code((21,), "total = 3"),
        make.code((22,), "answer = total", correct=True),
        make.submit((23,)),
    ]
    built = build_dpo(samples(make.trajectory(steps=steps)), kinds=["shared_prefix"])
    assert built.rows == []
    assert built.rows_dropped == {"shared_prefix: needs cells left out": 1}
    defined_before = [make.code((19,), "total = 2"), *steps]
    (pair,) = records(build_dpo(samples(make.trajectory(steps=defined_before)), kinds=["shared_prefix"]))
    assert (pair["chosen_ids"], pair["rejected_ids"]) == ([22], [20])


def test_a_submit_is_never_chosen(make: Any) -> None:
    guessed = make.trajectory(steps=[make.invalid((20,)), make.submit((21,), correct=True)])
    worked = make.trajectory("demo/train/1", steps=[make.invalid((20,)), make.code((22,)), make.submit((21,))])
    built = build_dpo(samples(guessed, worked), kinds=["shared_prefix"])
    assert [r["chosen_ids"] for r in records(built)] == [[22]]
    assert built.rows_dropped == {"shared_prefix: no turn that led to success": 1}


def test_shared_prefix_pairs_across_attempts_only_after_equal_ids(make: Any) -> None:
    right = make.trajectory(steps=[make.code((10,), correct=True), make.submit((11,))])
    wrong = make.trajectory(attempt=1, steps=[make.code((12,), correct=False), make.submit((13,))], correct=False)
    other_prompt = make.trajectory(attempt=2, steps=[make.invalid((14,))], correct=False, prompt=(1, 2, 4))
    same = make.trajectory(attempt=3, steps=[make.code((12,), correct=False)], correct=False)
    built = build_dpo(samples(right, wrong, other_prompt, same), kinds=["shared_prefix"])
    (pair,) = records(built)
    assert (pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"]) == ([1, 2, 3], [10], [12])
    assert built.rows[0].parents == (("s", "demo/train/0", 0), ("s", "demo/train/0", 1))
    assert built.rows_dropped == {"shared_prefix: prefix mismatch": 1, "shared_prefix: duplicate pair": 1}
    assert reasons(built) == {"prefix mismatch": 1, "duplicate pair": 1}


def test_only_the_turn_that_made_the_answer_wrong_is_rejected(make: Any) -> None:
    steps = [
        make.code((10,), "print(1)"),
        make.code((11,), "answer = 0", correct=False),
        make.code((12,), "print(2)", correct=False),
        make.code((13,), "answer = 1", correct=True),
        make.submit((14,), correct=True),
    ]
    built = build_dpo(samples(make.trajectory(steps=steps)), kinds=["shared_prefix"])
    assert [(r["chosen_ids"], r["rejected_ids"]) for r in records(built)] == [([13], [11])]


def test_best_meets_worst(make: Any) -> None:
    clean = make.trajectory(attempt=0, steps=[make.code((10,)), make.submit((11,))])
    clumsy = make.trajectory(attempt=1, steps=[make.invalid((12,)), make.submit((13,))])
    short = make.trajectory(attempt=2, steps=[make.submit((14,))], correct=False)
    failing = make.trajectory(attempt=3, steps=[make.invalid((15,)), make.submit((16, 17))], correct=False)
    third = make.trajectory(attempt=4, steps=[make.code((18,)), make.code((19,)), make.submit((20,))])
    built = build_dpo(samples(clean, clumsy, short, failing, third), kinds=["best_vs_worst"])
    best, second = records(built)
    assert best["prompt_ids"] == [1, 2, 3]
    assert (best["chosen_ids"], best["chosen_mask"]) == ([10, 7, 8, 11], [1, 0, 0, 1])
    assert (best["rejected_ids"], best["rejected_mask"]) == ([15, 7, 8, 16, 17], [1, 0, 0, 1, 1])
    assert (second["chosen_ids"], second["rejected_ids"]) == ([18, 7, 8, 19, 7, 8, 20], [14])
    assert reasons(built) == {"more of its kind than counterparts": 1}


def test_whole_pairs_need_the_same_prompt(make: Any) -> None:
    right = make.trajectory(prompt=(1, 2, 3))
    wrong = make.trajectory(attempt=1, prompt=(1, 2, 4), correct=False)
    lonely = make.trajectory("demo/train/1")
    forked = make.trajectory("demo/train/2", rows=(make.row((1,), []), make.row((2,), [])), forks=1)
    built = build_dpo(samples(right, wrong, lonely, forked), kinds=["best_vs_worst"])
    assert built.rows == []
    assert reasons(built) == {"prompt mismatch": 2, "no counterpart": 1, "forked": 1}
    assert built.rows_dropped.total() == 4


def test_pairs_that_are_too_long_are_dropped_by_their_longer_side(make: Any) -> None:
    right = make.trajectory(steps=[make.submit((10,))])
    wrong = make.trajectory(attempt=1, steps=[make.submit(range(20, 27))], correct=False)
    assert len(build_dpo(samples(right, wrong), max_tokens=10).rows) == 1
    built = build_dpo(samples(right, wrong), max_tokens=9)
    assert reasons(built) == {"too many tokens": 2}
