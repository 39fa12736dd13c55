"""Per-token estimates of KL(policy || reference) from samples of the policy (Schulman 2020, "Approximating KL").

``k1`` is unbiased with a high variance (and, inside a loss, a gradient of mean zero), ``k2`` has the right gradient,
``k3`` is unbiased and never negative.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from copilot.online.config import KlEstimator


def kl(logps_N: Tensor, reference_N: Tensor, *, estimator: KlEstimator) -> Tensor:
    """Estimate for each token; differentiable in ``logps_N``."""
    return _ESTIMATORS[estimator](reference_N - logps_N)


def _k1(log_ratio_N: Tensor) -> Tensor:
    return -log_ratio_N


def _k2(log_ratio_N: Tensor) -> Tensor:
    return 0.5 * log_ratio_N**2


def _k3(log_ratio_N: Tensor) -> Tensor:
    return torch.exp(log_ratio_N) - log_ratio_N - 1


_ESTIMATORS: dict[KlEstimator, Callable[[Tensor], Tensor]] = {"k1": _k1, "k2": _k2, "k3": _k3}
