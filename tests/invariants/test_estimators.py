"""From rewards and a critic's values to advantages per token, in closed form."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from copilot.online.config import PpoConfig
from copilot.online.episodes import Episode
from copilot.online.estimators import Batch, with_critic
from copilot.online.packing import Pack
from copilot.online.ranks import Ranks
from copilot.online.scoring import Valued

from .uneven import make_rows

REWARDS = [1.0, 0.0, 0.0, 0.5, 1.0, 1.0]
"""Of two groups of three; the last episode is masked."""


def config(**changes: Any) -> PpoConfig:
    raw = {"id": "rl", "suite": "starter", "rollout": {"sampling": {"temperature": 0.7}}, "group_size": 3}
    return PpoConfig.model_validate(raw | {"whiten": False} | changes)


def batch() -> Batch:
    episodes, groups = list[Episode](), list[int]()
    for row, reward in zip(make_rows(2, 3), REWARDS, strict=True):
        last = len(episodes) == len(REWARDS) - 1
        groups.append(row.group)
        rows, mask = ([], "no reward") if last else ([row], "")
        episodes.append(Episode("t", "s", reward, {}, mask, False, 1, len(row.trained), rows))  # type: ignore[arg-type]
    return Batch(episodes, groups)


def estimated(value: float, **changes: Any) -> tuple[list[torch.Tensor], dict[str, float]]:
    """Advantages of each row, from a critic that says ``value`` of everything."""
    data = batch()

    def values(pack: Pack) -> Valued:
        return Valued(torch.full((len(pack.rows_N),), value), torch.zeros(len(pack.rows_N), 1))

    critic: Any = SimpleNamespace(train=lambda mode: None, sharded=False, values=values)
    figures = with_critic(config(**changes))(data, data.rows, critic, Ranks(), None)
    return [row.advantages_N for row in data.rows if row.advantages_N is not None], figures


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0.75, -0.25, -0.25, 0.25, 0.75]),
        # over the mean of the other valid ones: 1 - 0, 0 - 1/2, 0 - 1/2; 1/2 - 1, 1 - 1/2
        ({"baseline": "group"}, [0.75, -0.75, -0.75, -0.75, 0.25]),
    ],
)
def test_an_advantage_is_the_reward_over_baseline_and_value(changes: dict[str, Any], expected: list[float]) -> None:
    advantages, figures = estimated(0.25, **changes)
    for row, wanted in zip(advantages, expected, strict=True):
        assert row.tolist() == pytest.approx([wanted] * len(row))
    assert figures["value"] == pytest.approx(0.25)


def test_whitened_advantages_have_mean_zero_and_deviation_one() -> None:
    joined = torch.cat(estimated(0.25, whiten=True, baseline="group")[0])
    assert joined.mean().item() == pytest.approx(0, abs=1e-5)
    assert joined.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_an_attempt_without_siblings_has_no_group_baseline() -> None:
    with pytest.raises(ValueError, match="raise group_size"):
        config(baseline="group", group_size=1)
