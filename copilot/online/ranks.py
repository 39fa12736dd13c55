"""The processes of a stage, by accelerate: who they are, what they tell each other, and the store they share.

One process and many run the same lines: alone, gathering is a list of one and summing changes nothing.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor
from torch.distributed import HashStore  # type: ignore[attr-defined]

T = TypeVar("T")


class Ranks:
    """This process among those of the stage; joins the others."""

    def __init__(self) -> None:
        self.state = PartialState(cpu=not torch.cuda.is_available())
        self.rank: int = self.state.process_index
        self.size: int = self.state.num_processes
        self.device: torch.device = self.state.device
        self.store: Any = dist.distributed_c10d._get_default_store() if self.size > 1 else HashStore()
        """Counters and keys that all ranks see."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def wait(self) -> None:
        """Barrier."""
        self.state.wait_for_everyone()

    def gather(self, value: T) -> list[T]:
        """Everybody's value, by rank, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over the ranks, in place; one exchange per element type."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            for tensor, part in zip(same, flat.split([tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def totals(self, figures: dict[str, float]) -> dict[str, float]:
        """Each figure summed over the ranks; a rank may lack some."""
        everyone = self.gather(figures)
        return {
            name: sum(own.get(name, 0.0) for own in everyone) for name in dict.fromkeys(n for o in everyone for n in o)
        }
