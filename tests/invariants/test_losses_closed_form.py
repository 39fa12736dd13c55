"""Surrogates, KL estimates, corrections, aggregation and the value loss by hand on small cases, and their gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copilot.online.aggregation import row_weights
from copilot.online.config import ClipSettings, CorrectionSettings, KlSettings, LossSettings
from copilot.online.divergence import kl
from copilot.online.importance import correction_weights
from copilot.online.loss import PolicyTokens, policy_loss, value_loss
from copilot.online.surrogates import Ratios, cispo, clipped, gspo


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ratios(ratio: list[float], advantages: list[float], rows: list[int] | None = None) -> Ratios:
    logps = tensor(*map(math.log, ratio)).requires_grad_()
    rows_N = torch.tensor(rows or [0] * len(ratio))
    return Ratios(logps, torch.zeros_like(logps), tensor(*advantages), rows_N)


CLIP = ClipSettings(low=0.2, high=0.3)


def test_clipped_on_every_side() -> None:
    given_ = ratios([1.1, 1.5, 0.5, 1.5, 0.5], [1, 1, 1, -1, -1])
    found = clipped(given_, CLIP)
    assert found.losses_N.tolist() == pytest.approx([-1.1, -1.3, -0.5, 1.5, 0.8])
    assert found.high_N.tolist() == [False, True, False, False, False]
    assert found.low_N.tolist() == [False, False, False, False, True]
    found.losses_N.sum().backward()
    assert given_.logps_N.grad is not None
    assert given_.logps_N.grad.tolist() == pytest.approx([-1.1, 0, -0.5, 1.5, 0]), "no gradient where clipped"


def test_dual_clip_bounds_bad_tokens_only() -> None:
    given_ = ratios([5.0, 5.0], [-1, 1])
    found = clipped(given_, ClipSettings(low=0.2, high=0.3, dual=3.0))
    assert found.losses_N.tolist() == pytest.approx([3.0, -1.3])
    found.losses_N.sum().backward()
    assert given_.logps_N.grad is not None
    assert given_.logps_N.grad.tolist() == [0, 0]


def test_gspo_has_one_ratio_per_row() -> None:
    given_ = ratios([2.0, 0.5, 1.21, 1.0], [1, 1, 1, 1], [0, 0, 1, 1])
    found = gspo(given_, CLIP)
    assert found.losses_N.tolist() == pytest.approx([-1.0, -1.0, -1.1, -1.1])
    found.losses_N.sum().backward()
    assert given_.logps_N.grad is not None
    assert given_.logps_N.grad.tolist() == pytest.approx([-1.0, -1.0, -1.1, -1.1]), "the mean's share, per token"


def test_cispo_clips_the_weight_and_never_the_gradient() -> None:
    given_ = ratios([2.0, 0.1, 1.1], [1, 1, -1])
    found = cispo(given_, CLIP)
    found.losses_N.sum().backward()
    assert given_.logps_N.grad is not None
    assert given_.logps_N.grad.tolist() == pytest.approx([-1.3, -0.1, 1.1])
    assert found.high_N.tolist() == [True, False, False]


@pytest.mark.parametrize(("estimator", "expected"), [("k1", 0.5), ("k2", 0.125), ("k3", math.exp(-0.5) + 0.5 - 1)])
def test_kl_estimates(estimator: str, expected: float) -> None:
    assert kl(tensor(-1.0), tensor(-1.5), estimator=estimator).item() == pytest.approx(expected)  # type: ignore[arg-type]


@given(st.lists(st.floats(-4, 4), min_size=2, max_size=6), st.lists(st.floats(-4, 4), min_size=6, max_size=6))
def test_k1_and_k3_have_the_kl_as_their_expectation(policy: list[float], reference: list[float]) -> None:
    p, q = (torch.log_softmax(tensor(*x[: len(policy)]), 0) for x in (policy, reference))
    exact = (p.exp() * (p - q)).sum().item()
    for estimator in ("k1", "k3"):
        assert (p.exp() * kl(p, q, estimator=estimator)).sum().item() == pytest.approx(exact, abs=1e-9)  # type: ignore[arg-type]
    assert kl(p, q, estimator="k3").min().item() >= -1e-12


ROWS = torch.tensor([0, 0, 1, 1])
TRAINER, SERVER = tensor(*map(math.log, (3.0, 0.9, 0.2, 1.0))), torch.zeros(4, dtype=torch.float64)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "none"}, [1, 1, 1, 1]),
        ({"kind": "truncate", "high": 2.0}, [2, 0.9, 0.2, 1]),
        ({"kind": "mask", "low": 0.5, "high": 2.0}, [0, 0.9, 0, 1]),
        ({"kind": "truncate", "level": "sequence", "high": 1.5}, [1.5, 1.5, 0.2**0.5, 0.2**0.5]),
        ({"kind": "mask", "level": "sequence", "low": 0.5, "high": 2.0}, [2.7**0.5, 2.7**0.5, 0, 0]),
    ],
)
def test_corrections(settings: dict[str, object], expected: list[float]) -> None:
    weights, _, _ = correction_weights(TRAINER, SERVER, ROWS, CorrectionSettings.model_validate(settings))
    assert weights.tolist() == pytest.approx(expected)


def test_corrections_carry_no_gradient() -> None:
    trainer = TRAINER.clone().requires_grad_()
    assert not correction_weights(trainer, SERVER, ROWS, CorrectionSettings())[0].requires_grad


def test_aggregation() -> None:
    def weights(mode: str, trained: list[int]) -> list[float]:
        return row_weights(trained, mode, total_tokens=10, total_rows=4, constant=8)  # type: ignore[arg-type]

    assert weights("token", [2, 3]) == [0.1, 0.1]
    assert weights("sequence", [2, 5]) == pytest.approx([1 / 8, 1 / 20])
    assert weights("constant", [2, 5]) == pytest.approx([1 / 32, 1 / 32])


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.integers(1, 7))
def test_a_split_over_ranks_is_the_same_loss(trained: list[int], cut: int) -> None:
    """Weights need the counts of all ranks and nothing else: a part's weights are the whole's."""
    totals = {"total_tokens": sum(trained), "total_rows": len(trained), "constant": 16}
    for mode in ("token", "sequence", "constant"):
        whole = row_weights(trained, mode, **totals)  # type: ignore[arg-type]
        parts = [*row_weights(trained[:cut], mode, **totals), *row_weights(trained[cut:], mode, **totals)]  # type: ignore[arg-type]
        assert parts == whole
    for mode in ("token", "sequence"):
        whole = row_weights(trained, mode, **totals)  # type: ignore[arg-type]
        assert sum(w * n for w, n in zip(whole, trained, strict=True)) == pytest.approx(1), "a mean"


def test_the_whole_loss_adds_up() -> None:
    settings = LossSettings(
        clip=CLIP, kl=KlSettings(coefficient=0.1), entropy=0.01, correction=CorrectionSettings(high=1.5)
    )
    one = tensor(*map(math.log, (1.1, 1.5)))
    tokens = PolicyTokens(
        logps_N=one,
        entropy_N=tensor(2.0, 3.0),
        old_logps_N=torch.zeros(2, dtype=torch.float64),
        server_logps_N=tensor(math.log(0.5), math.log(0.8)),
        advantages_N=tensor(1.0, 1.0),
        weights_N=tensor(0.25, 0.75),
        rows_N=torch.tensor([0, 1]),
        reference_N=one - 0.2,
    )
    k3 = math.exp(-0.2) + 0.2 - 1
    expected = 0.25 * (-1.1 * 1.5 + 0.1 * 1.1 * k3 - 0.02) + 0.75 * (-1.3 * 1.25 + 0.1 * 1.5 * k3 - 0.03)
    found = policy_loss(tokens, settings)
    assert found.loss.item() == pytest.approx(expected)
    assert found.sums["tokens"].item() == 2
    assert found.sums["kl"].item() == pytest.approx(2 * k3, rel=1e-6)
    assert found.sums["corrected"].item() == 1
    assert found.maxima["server_ratio_max"].item() == pytest.approx(2)


def test_value_loss_takes_the_worse_of_free_and_clipped() -> None:
    values = tensor(1.0, 0.0, 0.3).requires_grad_()
    found = value_loss(values, tensor(0.5, 0.5, 0.25), tensor(1.0, 1.0, 0.0), tensor(1, 1, 1), clip=0.2)
    # 0.7 misses by 0.3; 0.0 is worse than 0.3; 0.3 moved by less than the bound
    assert found.loss.item() == pytest.approx(0.5 * (0.3**2 + 1.0**2 + 0.3**2))
    found.loss.backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0, -1, 0.3])
    assert found.sums["value_clip"].item() == 1
    free = value_loss(values, values, tensor(1.0, 1.0, 0.0), tensor(1, 1, 1), clip=None)
    assert free.loss.item() == pytest.approx(0.5 * (0 + 1 + 0.09))
