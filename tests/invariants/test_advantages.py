"""Advantage estimators in closed form, against independent references, and by property."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copilot.online.advantages import STD_EPSILON, gae, group_advantages, whiten


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


GROUPS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
REWARDS = tensor(1, 0, 0, 1, 0.5, 0.5, 0.5, math.nan)
VALID = torch.tensor([True] * 7 + [False])


def test_std_is_the_papers() -> None:
    found = group_advantages(REWARDS, GROUPS, VALID, kind="std")
    std = statistics.stdev([1, 0, 0, 1])
    assert found[:4].tolist() == pytest.approx([s * 0.5 / (std + STD_EPSILON) for s in (1, -1, -1, 1)], abs=1e-7)
    assert found[4:].tolist() == [0, 0, 0, 0], "no variance, and the masked one: nothing to learn"


def test_mean_and_leave_one_out() -> None:
    assert group_advantages(REWARDS, GROUPS, VALID, kind="mean")[:4].tolist() == [0.5, -0.5, -0.5, 0.5]
    found = group_advantages(REWARDS, GROUPS, VALID, kind="leave_one_out")[:4].tolist()
    assert found == pytest.approx([1 - 1 / 3, 0 - 2 / 3, 0 - 2 / 3, 1 - 1 / 3])


def test_a_group_of_one_learns_nothing() -> None:
    alone = torch.tensor([True, False])
    for kind in ("std", "mean", "leave_one_out"):
        assert group_advantages(tensor(1, 1), torch.tensor([0, 0]), alone, kind=kind).tolist() == [0, 0]


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.floats(-5, 5), st.integers(0, 11))
def test_what_is_masked_and_what_is_common_changes_nothing(rewards: list[float], shift: float, extra: int) -> None:
    groups, valid = torch.zeros(len(rewards), dtype=torch.long), torch.ones(len(rewards), dtype=torch.bool)
    for kind in ("std", "mean", "leave_one_out"):
        plain = group_advantages(tensor(*rewards), groups, valid, kind=kind)
        assert plain.sum().item() == pytest.approx(0, abs=1e-6)
        shifted = group_advantages(tensor(*rewards) + shift, groups, valid, kind=kind)
        torch.testing.assert_close(shifted, plain, atol=1e-6, rtol=1e-6)
        place = extra % (len(rewards) + 1)
        more = tensor(*rewards[:place], math.nan, *rewards[place:])
        mask = torch.tensor([True] * place + [False] + [True] * (len(rewards) - place))
        masked = group_advantages(more, torch.zeros(len(more), dtype=torch.long), mask, kind=kind)
        torch.testing.assert_close(masked[mask], plain)


def test_gae_in_closed_form() -> None:
    """Two episodes of two and three trained tokens; gamma and lambda other than 1."""
    values, episodes = tensor(0.5, 0.2, 0.1, -0.3, 0.4), torch.tensor([0, 0, 1, 1, 1])
    advantages, returns = gae(tensor(1, -2), values, episodes, gamma=0.9, lam=0.8)
    d1 = 1 - 0.2
    d0 = 0.9 * 0.2 - 0.5
    e2 = -2 - 0.4
    e1 = 0.9 * 0.4 + 0.3
    e0 = 0.9 * -0.3 - 0.1
    expected = [d0 + 0.72 * d1, d1, e0 + 0.72 * e1 + 0.72**2 * e2, e1 + 0.72 * e2, e2]
    assert advantages.tolist() == pytest.approx(expected)
    assert returns.tolist() == pytest.approx([a + v for a, v in zip(expected, values.tolist(), strict=True)])


def test_with_lambda_one_every_token_gets_the_reward_minus_its_value() -> None:
    values, episodes = torch.randn(9, dtype=torch.float64), torch.tensor([0] * 4 + [1] * 5)
    advantages, returns = gae(tensor(3, 7), values, episodes)
    torch.testing.assert_close(returns, tensor(3, 3, 3, 3, 7, 7, 7, 7, 7))
    torch.testing.assert_close(advantages, returns - values)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.floats(0.5, 1), st.floats(0, 1), st.integers(0, 99))
def test_gae_is_the_recursion_of_each_episode_alone(lengths: list[int], gamma: float, lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sum(lengths), generator=generator, dtype=torch.float64)
    rewards = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    episodes = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    found, _ = gae(rewards, values, episodes, gamma=gamma, lam=lam)
    expected: list[float] = []
    for reward, own in zip(rewards.tolist(), values.split(lengths), strict=True):
        following, trace, mine = 0.0, 0.0, list[float]()
        for t, value in reversed(list(enumerate(own.tolist()))):
            trace = (reward if t == len(own) - 1 else 0.0) + gamma * following - value + gamma * lam * trace
            following = value
            mine.append(trace)
        expected += reversed(mine)
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_whitening_uses_the_moments_it_is_given() -> None:
    assert whiten(tensor(1, 3), mean=2, std=1).tolist() == pytest.approx([-1, 1])
