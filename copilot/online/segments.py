"""Flat tensors of trained tokens, and sums over the rows they belong to.

Everything numerical works on the *compressed* sequence: only tokens the policy sampled, one after the other, with the
index of their row (``rows_N``, ascending). Prompts, environment output and padding are not there to be forgotten.
"""

import torch
from torch import Tensor


def counts(rows_N: Tensor, size: int) -> Tensor:
    """Tokens of each row, float32 ``[size]``."""
    return segment_sum(torch.ones(len(rows_N), device=rows_N.device), rows_N, size)


def segment_sum(values_N: Tensor, rows_N: Tensor, size: int) -> Tensor:
    """Sum of the values of each row ``[size]``; differentiable."""
    return values_N.new_zeros(size).index_add(0, rows_N, values_N)


def segment_mean(values_N: Tensor, rows_N: Tensor, size: int) -> Tensor:
    """Mean of the values of each row ``[size]``, 0 for rows without tokens; differentiable."""
    return segment_sum(values_N, rows_N, size) / counts(rows_N, size).clamp(min=1.0)


def last_of_each(rows_N: Tensor) -> Tensor:
    """Bool ``[N]``: whether a token is the last one of its row."""
    last_N = torch.ones_like(rows_N, dtype=torch.bool)
    last_N[:-1] = rows_N[1:] != rows_N[:-1]
    return last_N
