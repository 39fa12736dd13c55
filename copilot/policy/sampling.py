"""Drawing tokens: pure functions from logits to the sampling distribution and to one token per row.

The log-probability reported for a token is that of the distribution it was drawn from. Greedy rows have none, so
theirs is that of temperature 1, the convention of vLLM; :attr:`SamplingParams.logprob_temperature` says which.
"""

import torch
from torch import Tensor


def sampling_logprobs(logits_BV: Tensor, temperature_B: Tensor, top_p_B: Tensor) -> Tensor:
    """Log-probabilities of the sampling distribution.

    Args:
        logits_BV: Raw logits, any float type.
        temperature_B: Positive; rows with 0 are greedy and keep temperature 1.
        top_p_B: In (0, 1]; what is outside the nucleus gets ``-inf``.

    Returns:
        float32 ``[B, V]``, each row normalised.
    """
    scale_B = torch.where(temperature_B > 0, temperature_B, torch.ones_like(temperature_B))
    logprobs_BV = torch.log_softmax(logits_BV.float() / scale_B[:, None], dim=-1)
    cut_B = (top_p_B < 1) & (temperature_B > 0)
    if bool(cut_B.any()):
        sorted_BV, order_BV = logprobs_BV[cut_B].sort(dim=-1, descending=True)
        before_BV = sorted_BV.exp().cumsum(dim=-1) - sorted_BV.exp()
        sorted_BV = sorted_BV.masked_fill(before_BV >= top_p_B[cut_B, None], float("-inf"))
        nucleus_BV = torch.empty_like(sorted_BV).scatter_(1, order_BV, sorted_BV)
        logprobs_BV[cut_B] = torch.log_softmax(nucleus_BV, dim=-1)
    return logprobs_BV


def draw_tokens(logprobs_BV: Tensor, uniform_B: Tensor, greedy_B: Tensor) -> Tensor:
    """One token id per row: the most likely where ``greedy_B``, else by inverse distribution function.

    Args:
        logprobs_BV: From :func:`sampling_logprobs`.
        uniform_B: In [0, 1), float64; the row's own random number, so that a row's draw does not hang on its batch.
        greedy_B: Bool.

    Returns:
        int64 ``[B]``.
    """
    best_B = logprobs_BV.argmax(dim=-1)
    if bool(greedy_B.all()):
        return best_B
    mass_BV = logprobs_BV.double().exp().cumsum(dim=-1)
    target_B1 = (uniform_B.to(mass_BV) * mass_BV[:, -1])[:, None]
    drawn_B = torch.searchsorted(mass_BV, target_B1, right=True).squeeze(1).clamp_(max=logprobs_BV.shape[-1] - 1)
    return torch.where(greedy_B, best_B, drawn_B)
