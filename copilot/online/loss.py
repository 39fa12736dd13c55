"""The policy's and the critic's loss over the trained tokens of a forward; nothing here knows where they came from."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from copilot.online.config import LossSettings
from copilot.online.divergence import kl
from copilot.online.importance import correction_weights
from copilot.online.surrogates import SURROGATES, Ratios


@dataclass(frozen=True)
class PolicyTokens:
    """Trained tokens of a forward, flat ``[N]``."""

    logps_N: Tensor
    """Under the weights being trained, with gradient."""
    entropy_N: Tensor
    """Entropy of the distribution each token was drawn from."""
    old_logps_N: Tensor
    """By the trainer, before the step's first update."""
    server_logps_N: Tensor
    """By the policy that sampled."""
    advantages_N: Tensor
    """Advantage of each token."""
    weights_N: Tensor
    """Weight of each token in the loss (:mod:`copilot.online.aggregation`)."""
    rows_N: Tensor
    """Row of each token, ascending from 0."""
    reference_N: Tensor | None = None
    """By the frozen reference; ``None`` without a KL term."""


@dataclass(frozen=True)
class LossOutput:
    """A loss and what it was made of."""

    loss: Tensor
    """Scalar with gradient; sums to the minibatch's loss over all forwards of all ranks."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sums over tokens, for means over the step (``tokens`` is their number)."""
    maxima: dict[str, Tensor] = field(default_factory=dict)
    """Largest values."""


def policy_loss(tokens: PolicyTokens, settings: LossSettings) -> LossOutput:
    """Surrogate, importance correction, KL and entropy, added.

    The correction weighs the surrogate only; KL and entropy are of the policy itself.
    """
    ratios = Ratios(tokens.logps_N, tokens.old_logps_N, tokens.advantages_N, tokens.rows_N)
    surrogated = SURROGATES[settings.surrogate](ratios, settings.clip)
    corrections_N, server_ratio_N, corrected_N = correction_weights(
        tokens.old_logps_N, tokens.server_logps_N, tokens.rows_N, settings.correction
    )
    losses_N = surrogated.losses_N * corrections_N
    sums = {}
    if tokens.reference_N is not None:
        kl_N = kl(tokens.logps_N, tokens.reference_N, estimator=settings.kl.estimator)
        weighted_N = kl_N * torch.exp(tokens.logps_N - tokens.old_logps_N) if settings.kl.unbiased else kl_N
        losses_N = losses_N + settings.kl.coefficient * weighted_N
        sums["kl"] = kl_N.detach().sum()
    if settings.entropy:
        losses_N = losses_N - settings.entropy * tokens.entropy_N
    loss = (tokens.weights_N * losses_N).sum()
    with torch.no_grad():
        ratio_N = torch.exp(tokens.logps_N - tokens.old_logps_N)
        difference_N = tokens.old_logps_N - tokens.server_logps_N
        sums |= {
            "tokens": torch.tensor(float(len(losses_N)), device=loss.device),
            "entropy": tokens.entropy_N.sum(),
            "clip_low": surrogated.low_N.sum(),
            "clip_high": surrogated.high_N.sum(),
            "ratio": ratio_N.sum(),
            "corrected": corrected_N.sum(),
            "server_ratio": server_ratio_N.sum(),
            "server_difference": difference_N.abs().sum(),
            "server_tail": (difference_N.abs() > 1).sum(),
        }
        maxima = {"ratio_max": ratio_N.max(), "server_ratio_max": server_ratio_N.max()} if len(losses_N) else {}
    return LossOutput(loss, {name: value.detach().float() for name, value in sums.items()}, maxima)


def value_loss(
    values_N: Tensor, old_values_N: Tensor, returns_N: Tensor, weights_N: Tensor, *, clip: float | None
) -> LossOutput:
    """Half the squared error of the critic, the worse of the free and the clipped value (PPO, arXiv 1707.06347, and
    Huang et al. 2022, "The 37 implementation details of PPO").

    Args:
        values_N: The critic's values, with gradient.
        old_values_N: The same before the step's first update.
        returns_N: Targets.
        weights_N: Weight of each token.
        clip: How far a value may move from its old one; ``None``: anywhere.
    """
    errors_N = (values_N - returns_N) ** 2
    clipped_N = torch.zeros_like(values_N, dtype=torch.bool)
    if clip is not None:
        bounded_N = old_values_N + (values_N - old_values_N).clamp(-clip, clip)
        bounded_errors_N = (bounded_N - returns_N) ** 2
        clipped_N = bounded_errors_N > errors_N
        errors_N = torch.maximum(errors_N, bounded_errors_N)
    loss = 0.5 * (weights_N * errors_N).sum()
    return LossOutput(loss, {"value_clip": (weights_N * clipped_N).sum().detach().float()})
