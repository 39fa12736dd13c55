"""The order of rows, decided once and ahead: the same on any number of processes and after any restart.

A pure function of seed, lengths and batch size. Each step gets exactly ``batch_size`` rows; epochs are shuffled
streams joined end to end; within a step rows are sorted by length, so that micro-batches carry little padding.
Invariant: the set of rows of a step does not depend on how many processes share it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


def row_order(lengths: Sequence[int], *, batch_size: int, steps: int, seed: int) -> list[int]:
    """Indices of ``steps * batch_size`` rows, step after step.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows per step.
        steps: Steps.
        seed: Of the shuffles.
    """
    need, stream, epoch = steps * batch_size, list[int](), 0
    while len(stream) < need:
        stream += np.random.default_rng([seed, epoch]).permutation(len(lengths)).tolist()
        epoch += 1
    ordered: list[int] = []
    for start in range(0, need, batch_size):
        ordered += sorted(stream[start : start + batch_size], key=lambda row: lengths[row])
    return ordered


class PlannedOrder(Sampler[int]):
    """A sampler that yields a plan made by :func:`row_order`."""

    def __init__(self, plan: Sequence[int]) -> None:
        self.plan = plan

    def __iter__(self) -> Iterator[int]:
        return iter(self.plan)

    def __len__(self) -> int:
        return len(self.plan)
