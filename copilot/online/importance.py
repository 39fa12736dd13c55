"""Importance weights between the server that sampled and the trainer that learns: other kernels, or an older policy.

Truncated (TIS, Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training") or masked
(MIS, IcePop); per token, or one geometric mean per row, which does not explode with length.
"""

import torch
from torch import Tensor

from copilot.online.config import CorrectionSettings
from copilot.online.segments import segment_mean


def correction_weights(
    trainer_N: Tensor, server_N: Tensor, rows_N: Tensor, settings: CorrectionSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight of each token in the loss.

    Args:
        trainer_N: Log-probabilities by the trainer before the step's first update.
        server_N: Log-probabilities by the policy that sampled, under its sampling distribution.
        rows_N: Row of each token, ascending from 0.
        settings: What is done with large ratios.

    Returns:
        weights_N without gradient, 0 where masked; the ratios they were made from; and whether one was changed.
    """
    difference_N = (trainer_N - server_N).detach()
    if settings.level == "sequence":
        size = int(rows_N[-1]) + 1 if len(rows_N) else 0
        difference_N = segment_mean(difference_N, rows_N, size)[rows_N]
    ratio_N = torch.exp(difference_N)
    if settings.kind == "none":
        return torch.ones_like(ratio_N), ratio_N, torch.zeros_like(ratio_N, dtype=torch.bool)
    if settings.kind == "truncate":
        return ratio_N.clamp(max=settings.high), ratio_N, ratio_N > settings.high
    outside_N = (ratio_N < settings.low) | (ratio_N > settings.high)
    return ratio_N.masked_fill(outside_N, 0.0), ratio_N, outside_N
