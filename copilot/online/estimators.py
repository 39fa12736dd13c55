"""From a step's episodes to an advantage for every trained token: the one place where GRPO and PPO differ."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from copilot.online.advantages import gae, group_advantages, whiten
from copilot.online.config import GroupAdvantage, PpoConfig
from copilot.online.episodes import Episode
from copilot.online.head_fit import HeadFit
from copilot.online.model import ActorCritic
from copilot.online.packing import Pack
from copilot.online.ranks import Ranks
from copilot.online.rows import TrainRow
from copilot.online.sharding import even_packs

Figures = dict[str, float]


@dataclass(frozen=True)
class Batch:
    """What a step is trained on, the same on every rank."""

    episodes: list[Episode]
    """All episodes of the groups taken; rows carry the episode's and the group's index."""
    groups: list[int]
    """Group of each episode, from 0."""

    @property
    def rows(self) -> list[TrainRow]:
        """Rows of all episodes, in order."""
        return [row for episode in self.episodes for row in episode.rows]


Estimator = Callable[[Batch, list[TrainRow], ActorCritic, Ranks, HeadFit | None], Figures]
"""Sets ``advantages_N`` of this rank's rows (second argument); returns figures of all ranks. What sets a critic's head
in closed form (the last argument, where this step does) learns afterwards, so that no value has seen its own return."""


def group_relative(kind: GroupAdvantage) -> Estimator:
    """Each episode against its siblings; the same for all of its tokens."""

    def estimate(
        batch: Batch, mine: list[TrainRow], model: ActorCritic, ranks: Ranks, fitted: HeadFit | None
    ) -> Figures:
        advantages_E = group_advantages(
            torch.tensor([episode.reward for episode in batch.episodes]),
            torch.tensor(batch.groups),
            torch.tensor([not episode.mask for episode in batch.episodes]),
            kind=kind,
        )
        for row in mine:
            row.advantages_N = advantages_E[row.episode].repeat(len(row.trained))
        return {}

    return estimate


def with_critic(config: PpoConfig) -> Estimator:
    """GAE on the critic's values, over each episode's trained tokens joined.

    Explained variance is 1 - Var(return - value) / Var(return) over tokens: 0 for a constant, whatever its size, which
    whitening takes out anyway.
    """

    def estimate(
        batch: Batch, mine: list[TrainRow], model: ActorCritic, ranks: Ranks, fitted: HeadFit | None
    ) -> Figures:
        seen = _add_values(mine, model, ranks, config.training.forward_tokens, keep_states=fitted is not None)
        if mine:
            _add_returns(_rewards(batch, config), mine, config)
        if fitted is not None:
            fitted.learn(
                [states for _, states in seen],
                [pack.tensor("returns_N") for pack, _ in seen],
                tasks=len({row.group for row in batch.rows}),
                ranks=ranks,
            )
        moments = _moments(mine, ranks)
        count, mean = max(1.0, moments["count"]), moments["advantage"] / max(1.0, moments["count"])
        if config.whiten:
            std = max(0.0, moments["advantage_squared"] / count - mean**2) ** 0.5
            for row in mine:
                assert row.advantages_N is not None
                row.advantages_N = whiten(row.advantages_N, mean=mean, std=std)
        return_mean = moments["return"] / count
        variance = moments["return_squared"] / count - return_mean**2
        value_mean = moments["value"] / count
        unexplained = moments["error_squared"] / count - (return_mean - value_mean) ** 2
        explained = 1 - unexplained / variance if variance > 1e-8 else 0.0
        tasks = {} if fitted is None else {"critic_tasks": float(fitted.tasks)}
        return {"explained_variance": explained, "value": value_mean, "return": return_mean} | tasks

    return estimate


@torch.no_grad()
def _add_values(
    mine: list[TrainRow], model: ActorCritic, ranks: Ranks, tokens: int, *, keep_states: bool
) -> list[tuple[Pack, Tensor]]:
    """Set the rows' values; the states they were read from, forward by forward, where these are to be kept."""
    model.train(False)
    seen = []
    for pack in even_packs(mine, tokens=tokens, ranks=ranks, sharded=model.sharded):
        found = model.values(pack)  # with shards, every process takes part in every forward
        for row, values_N in zip(pack.rows, pack.split(found.values_N), strict=True):
            row.old_values_N = values_N
        if keep_states and not pack.filler:
            seen.append((pack, found.states_NH))
    return seen


def _rewards(batch: Batch, config: PpoConfig) -> Tensor:
    """Of each episode, over its siblings' mean where that is the baseline."""
    rewards_E = torch.tensor([episode.reward for episode in batch.episodes])
    if config.baseline == "none":
        return rewards_E
    valid_E = torch.tensor([not episode.mask for episode in batch.episodes])
    return group_advantages(rewards_E, torch.tensor(batch.groups), valid_E, kind="leave_one_out")


def _add_returns(rewards_E: Tensor, mine: list[TrainRow], config: PpoConfig) -> None:
    """Rows of an episode lie one behind the other; GAE sees them as one sequence."""
    numbers = {episode: number for number, episode in enumerate(dict.fromkeys(row.episode for row in mine))}
    lengths = torch.tensor([len(row.trained) for row in mine])
    episodes_N = torch.tensor([numbers[row.episode] for row in mine]).repeat_interleave(lengths)
    values_N = torch.cat([row.old_values_N for row in mine if row.old_values_N is not None])
    advantages_N, returns_N = gae(rewards_E[list(numbers)], values_N, episodes_N, gamma=config.gamma, lam=config.lam)
    sizes = lengths.tolist()
    for row, advantages, returns in zip(mine, advantages_N.split(sizes), returns_N.split(sizes), strict=True):
        row.advantages_N, row.returns_N = advantages, returns


def _moments(mine: list[TrainRow], ranks: Ranks) -> Figures:
    """Sums over the tokens of all ranks."""

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(row, name).double() for row in mine]) if mine else torch.zeros(0, dtype=torch.double)

    advantages_N, returns_N, values_N = joined("advantages_N"), joined("returns_N"), joined("old_values_N")
    return ranks.totals(
        {
            "count": float(len(advantages_N)),
            "advantage": advantages_N.sum().item(),
            "advantage_squared": (advantages_N**2).sum().item(),
            "return": returns_N.sum().item(),
            "return_squared": (returns_N**2).sum().item(),
            "error_squared": ((returns_N - values_N) ** 2).sum().item(),
            "value": values_N.sum().item(),
        }
    )
