"""AUC, average precision, calibration and bootstrap intervals: closed forms, brute force, properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.errors import DataError
from copilot.evaluation.bootstrap import over_tasks
from copilot.verifier.answers import answer_key
from copilot.verifier.calibration import Calibration, expected_calibration_error, fit_calibration, reliability
from copilot.verifier.candidates import Candidate, TaskGroup
from copilot.verifier.discrimination import auc, auprc, task_aucs

pairs = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.4, 0.7]), st.booleans()), min_size=2, max_size=12).filter(
    lambda rows: 0 < sum(right for _, right in rows) < len(rows)
)


def split(rows: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in rows], [right for _, right in rows]


@settings(deadline=None)
@given(pairs)
def test_auc_counts_ordered_pairs(rows: list[tuple[float, bool]]) -> None:
    right, wrong = [s for s, y in rows if y], [s for s, y in rows if not y]
    brute = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong) / (len(right) * len(wrong))
    scores, correct = split(rows)
    assert auc(scores, correct) == pytest.approx(brute)
    assert auc([-s for s in scores], correct) == pytest.approx(1 - brute)


@settings(deadline=None)
@given(pairs)
def test_auprc_sums_precision_over_thresholds(rows: list[tuple[float, bool]]) -> None:
    scores, correct = split(rows)
    brute, last = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [y for s, y in rows if s >= threshold]
        recall = sum(taken) / sum(correct)
        brute, last = brute + (recall - last) * sum(taken) / len(taken), recall
    assert auprc(scores, correct) == pytest.approx(brute)


def test_auprc_of_a_constant_score_is_the_base_rate() -> None:
    assert auprc([0.5] * 8, [True] * 2 + [False] * 6) == pytest.approx(0.25)
    assert auprc([0.9, 0.8, 0.1], [True, True, False]) == 1


def test_within_task_auc_ignores_how_hard_tasks_are() -> None:
    """Tasks told apart perfectly, attempts not at all: the pooled AUC is high, the one that matters is a coin."""
    easy = TaskGroup("e", "s", "x", (Candidate(0.9, True, True, 1.0),) * 4, (True, True, True, False))
    hard = TaskGroup("h", "s", "x", (Candidate(0.1, True, True, 1.0),) * 4, (False, False, False, True))
    assert task_aucs([easy, hard]) == [0.5, 0.5]
    assert auc([0.9] * 4 + [0.1] * 4, [*easy.correct, *hard.correct]) == 0.75
    with pytest.raises(DataError, match=r"'all right': 1\} of 1 tasks"):
        task_aucs([TaskGroup("a", "s", "x", easy.candidates[:2], (True, True))])


def test_calibration_error_in_closed_form() -> None:
    scores = [0.05, 0.05, 0.95, 0.95]
    assert expected_calibration_error(scores, [False, False, True, True]) == pytest.approx(0.05)
    assert expected_calibration_error(scores, [True, True, False, False]) == pytest.approx(0.95)
    table = reliability([1.0, 0.0, 0.999], [True, False, True])
    assert [b.count for b in table] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert sum(b.count for b in table) == 3


def test_scaling_finds_the_temperature_and_shift_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 6, 20_000)
    correct = (rng.random(20_000) < 1 / (1 + np.exp(-(z / 3 - 1)))).tolist()
    found = fit_calibration(z.tolist(), correct)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.shift == pytest.approx(-1, abs=0.1)
    assert found.fitted_on == 20_000
    assert expected_calibration_error(found.scores(z.tolist()), correct) < 0.02
    assert expected_calibration_error(Calibration().scores(z.tolist()), correct) > 0.1


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(0.02, 50), st.floats(-20, 20))
def test_scores_keep_their_order_and_stay_inside_zero_and_one(z: list[float], temperature: float, shift: float) -> None:
    scores = Calibration(temperature=temperature, shift=shift).scores(z)
    assert all(0 < score < 1 for score in scores)
    ordered = [score for _, score in sorted(zip(z, scores, strict=True))]
    assert ordered == sorted(ordered)


def test_what_cannot_be_scaled_is_refused() -> None:
    with pytest.raises(DataError, match="3 right of 3"):
        fit_calibration([1.0, 2.0, 3.0], [True] * 3)
    with pytest.raises(ValueError, match="1 of 2 logits are not finite"):
        Calibration().scores([0.0, math.nan])


def test_bootstrap_interval_of_a_mean_is_the_normal_one() -> None:
    values = [1.0] * 60 + [0.0] * 40
    found = over_tasks([values])
    half = 1.96 * math.sqrt(0.24 / 100)
    assert found.value == pytest.approx(0.6)
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.01)
    assert over_tasks([values]) == found


def test_bootstrap_pairs_its_columns() -> None:
    old = [float(i % 2) for i in range(200)]
    new = [value + 0.1 for value in old]
    found = over_tasks([old, new], lambda means: means[:, 1] - means[:, 0])
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="no tasks"):
        over_tasks([[]])


def test_equal_answers_have_equal_keys() -> None:
    assert answer_key(143.47826086956522) == answer_key("143.478") == answer_key([143.48])
    assert answer_key("Yes ") == answer_key("yes") != answer_key("no")
    assert answer_key([[1, "a"], [2, "b"]]) == answer_key([{"n": 1, "s": "a"}, {"n": 2, "s": "b"}])
    assert answer_key([1, 2]) != answer_key([2, 1])
    assert len({answer_key(v) for v in (None, True, float("nan"), "", "None", 10**400)}) >= 4  # type: ignore[arg-type]
