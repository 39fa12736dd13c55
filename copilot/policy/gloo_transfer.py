"""The receiving side of :class:`copilot.policy.broadcast.GlooGroup`, in vLLM's workers."""

from typing import Any

import torch
from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine

from copilot.policy.broadcast import GlooGroup


class GlooWeightTransferEngine(NCCLWeightTransferEngine):
    """vLLM's own engine with another way to come by the tensors; what it does with them is the same."""

    _group: GlooGroup | None = None

    def init_transfer_engine(self, init_info: Any) -> None:
        """Join the trainer's group."""
        parallel = self.parallel_config
        rank = parallel.data_parallel_index * parallel.world_size + parallel.rank + init_info.rank_offset
        self._group = GlooGroup(init_info.master_address, init_info.master_port, rank=rank, size=init_info.world_size)

    def receive_weights(self, update_info: Any) -> None:
        """Take the tensors one by one, in the order that was announced."""
        if self._group is None:
            raise RuntimeError("weights were sent before init_weight_transfer_engine")
        load: Any = self.model.load_weights
        for name, dtype, shape in zip(update_info.names, update_info.dtype_names, update_info.shapes, strict=True):
            weight = torch.empty(shape, dtype=getattr(torch, dtype))
            self._group.broadcast(weight)
            load([(name, weight.to(self.device))])

    def shutdown(self) -> None:
        """Leave the group."""
        self._group = None
