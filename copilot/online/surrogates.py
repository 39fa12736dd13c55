"""Surrogate objectives: how far a token may move the policy. One function each, from a record to a record.

Add one: a function here and its name in :data:`SURROGATES` and :data:`copilot.online.config.SurrogateName`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from copilot.online.config import ClipSettings, SurrogateName
from copilot.online.segments import segment_mean


@dataclass(frozen=True)
class Ratios:
    """What a surrogate looks at, flat over trained tokens."""

    logps_N: Tensor
    """Log-probabilities under the weights being trained, with gradient."""
    old_logps_N: Tensor
    """The same before the step's first update."""
    advantages_N: Tensor
    """Advantage of each token."""
    rows_N: Tensor
    """Row of each token, ascending from 0."""

    @property
    def size(self) -> int:
        """Rows."""
        return int(self.rows_N[-1]) + 1 if len(self.rows_N) else 0


@dataclass(frozen=True)
class Surrogated:
    """What a surrogate says."""

    losses_N: Tensor
    """Loss of each token, with gradient."""
    low_N: Tensor
    """Bool: clipped from below."""
    high_N: Tensor
    """Bool: clipped from above."""


def clipped(ratios: Ratios, clip: ClipSettings) -> Surrogated:
    """PPO's clipped objective (arXiv 1707.06347).

    The two sides may differ (clip-higher, DAPO, arXiv 2503.14476); ``clip.dual`` bounds what a bad token with a large
    ratio can do (dual clip, arXiv 1912.09729).
    """
    return _clip(torch.exp(ratios.logps_N - ratios.old_logps_N), ratios.advantages_N, clip)


def gspo(ratios: Ratios, clip: ClipSettings) -> Surrogated:
    """One ratio per row, the geometric mean of its tokens' (GSPO, arXiv 2507.18071); use with ``sequence`` means."""
    log_ratio_R = segment_mean(ratios.logps_N - ratios.old_logps_N, ratios.rows_N, ratios.size)
    return _clip(torch.exp(log_ratio_R)[ratios.rows_N], ratios.advantages_N, clip)


def cispo(ratios: Ratios, clip: ClipSettings) -> Surrogated:
    """The ratio, bounded by ``1 + clip.high``, only weighs the gradient: no token loses its own (arXiv 2506.13585)."""
    ratio_N = torch.exp(ratios.logps_N.detach() - ratios.old_logps_N)
    losses_N = -ratio_N.clamp(max=1 + clip.high) * ratios.advantages_N * ratios.logps_N
    none_N = torch.zeros_like(ratio_N, dtype=torch.bool)
    return Surrogated(losses_N, low_N=none_N, high_N=(ratio_N > 1 + clip.high) & (ratios.advantages_N > 0))


def _clip(ratio_N: Tensor, advantages_N: Tensor, clip: ClipSettings) -> Surrogated:
    free_N = ratio_N if clip.dual is None else ratio_N.clamp(max=clip.dual)
    bounded_N = ratio_N.clamp(1 - clip.low, 1 + clip.high)
    losses_N = -torch.minimum(free_N * advantages_N, bounded_N * advantages_N)
    return Surrogated(
        losses_N,
        low_N=(ratio_N < 1 - clip.low) & (advantages_N < 0),
        high_N=(ratio_N > 1 + clip.high) & (advantages_N > 0),
    )


SURROGATES: dict[SurrogateName, Callable[[Ratios, ClipSettings], Surrogated]] = {
    "clipped": clipped,
    "gspo": gspo,
    "cispo": cispo,
}
"""By the recipe's name."""
