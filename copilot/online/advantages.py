"""Advantage estimators: rewards in, one number per episode or per trained token out. Pure functions.

Group-relative: GRPO (Shao et al. 2024, arXiv 2402.03300), without the division by the deviation (Dr. GRPO, Liu et al.
2025, arXiv 2503.20783), leave-one-out (RLOO, Ahmadian et al. 2024, arXiv 2402.14740). With a critic: GAE (Schulman
et al. 2016, arXiv 1506.02438) on the compressed sequence of trained tokens, so that environment output between two
turns neither discounts nor dilutes anything, and the terminal reward lies on the last token that is trained.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from copilot.online.config import GroupAdvantage
from copilot.online.segments import last_of_each, segment_sum

STD_EPSILON = 1e-4
"""Added to the deviation, as in TRL and the papers' code."""


def group_advantages(rewards_E: Tensor, groups_E: Tensor, valid_E: Tensor, *, kind: GroupAdvantage = "std") -> Tensor:
    """Advantage of each episode over its group.

    Args:
        rewards_E: Reward of each episode; ignored (NaN allowed) where not valid.
        groups_E: Index of each episode's group, from 0.
        valid_E: Bool; other episodes have no part in any baseline and get 0.
        kind: ``std``, ``mean`` or ``leave_one_out``.

    Returns:
        ``[E]``; 0 in groups with fewer than two valid episodes.
    """
    size = int(groups_E.max()) + 1 if len(groups_E) else 0
    known_E = torch.where(valid_E, rewards_E, torch.zeros_like(rewards_E))
    count_E = segment_sum(valid_E.to(rewards_E.dtype), groups_E, size)[groups_E]
    mean_E = segment_sum(known_E, groups_E, size)[groups_E] / count_E.clamp(min=1)
    centred_E = torch.where(valid_E & (count_E > 1), known_E - mean_E, torch.zeros_like(known_E))
    return _ESTIMATORS[kind](centred_E, count_E, groups_E, size)


def _std(centred_E: Tensor, count_E: Tensor, groups_E: Tensor, size: int) -> Tensor:
    variance_E = segment_sum(centred_E**2, groups_E, size)[groups_E] / (count_E - 1).clamp(min=1)
    return centred_E / (variance_E.sqrt() + STD_EPSILON)


def _mean(centred_E: Tensor, count_E: Tensor, groups_E: Tensor, size: int) -> Tensor:
    return centred_E


def _leave_one_out(centred_E: Tensor, count_E: Tensor, groups_E: Tensor, size: int) -> Tensor:
    """``r - mean of the others`` is the centred reward times ``n / (n - 1)``."""
    return centred_E * count_E / (count_E - 1).clamp(min=1)


_ESTIMATORS: dict[GroupAdvantage, Callable[[Tensor, Tensor, Tensor, int], Tensor]] = {
    "std": _std,
    "mean": _mean,
    "leave_one_out": _leave_one_out,
}


def gae(
    reward_E: Tensor, values_N: Tensor, episodes_N: Tensor, *, gamma: float = 1.0, lam: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Generalised advantages over the trained tokens of each episode, all of its turns joined.

    Args:
        reward_E: Terminal reward of each episode.
        values_N: The critic's value before each trained token.
        episodes_N: Index of each token's episode, ascending.
        gamma: Discount per trained token.
        lam: Trace decay per trained token.

    Returns:
        advantages_N, and the value targets ``advantages + values``.
    """
    size, device = len(reward_E), values_N.device
    lengths_E = torch.bincount(episodes_N, minlength=size)
    longest = int(lengths_E.max()) if len(episodes_N) else 0
    starts_E = lengths_E.cumsum(0) - lengths_E
    place_N = torch.arange(len(episodes_N), device=device) - starts_E[episodes_N]
    values_ET = values_N.new_zeros(size, longest + 1).index_put((episodes_N, place_N), values_N)
    rewards_N = torch.where(last_of_each(episodes_N), reward_E.to(values_N)[episodes_N], torch.zeros_like(values_N))
    rewards_ET = values_N.new_zeros(size, longest).index_put((episodes_N, place_N), rewards_N)
    deltas_ET = rewards_ET + gamma * values_ET[:, 1:] - values_ET[:, :-1]
    traces_ET, trace_E = torch.zeros_like(deltas_ET), values_N.new_zeros(size)
    for t in reversed(range(longest)):  # past an episode's end everything is 0, and nothing leaks back
        trace_E = deltas_ET[:, t] + gamma * lam * trace_E
        traces_ET[:, t] = trace_E
    advantages_N = traces_ET[episodes_N, place_N]
    return advantages_N, advantages_N + values_N


def whiten(advantages_N: Tensor, *, mean: float, std: float) -> Tensor:
    """Advantages with mean 0 and deviation 1, by the moments of the whole batch (of all ranks)."""
    return (advantages_N - mean) / (std + 1e-8)
