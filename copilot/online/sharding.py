"""Weights in shards over the processes (FSDP2): each holds its part and gathers a layer when it computes it.

What is summed, trained and saved stays what it is on one process: gradients are added up, never averaged, and files
hold whole tensors, so a run may go on with another number of processes. Every forward is an exchange between all
processes, which is why those with fewer rows fill up with rows of weight 0 (:func:`even_packs`).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from copilot.errors import ModelError
from copilot.online.packing import Pack, filler, make_packs
from copilot.online.ranks import Ranks
from copilot.online.rows import TrainRow
from copilot.online.zero_tensors import gathered, in_zero3, scatter, set_trained_state


def shard(module: nn.Module, *, compute: torch.dtype | None = None) -> nn.Module:
    """Split a module's parameters over all processes, layer by layer, and move them to the accelerator if there is one.

    Args:
        module: What is called; in it, a transformers model whose class names its layers.
        compute: Type that weights are gathered in; ``None``: the type they are kept in.

    Returns:
        The module.
    """
    precise = MixedPrecisionPolicy()
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32) if compute else precise
    for layer in _layers(module):
        fully_shard(layer, mp_policy=precise if isinstance(layer, nn.Linear) else policy)
    # A root that stays whole after a forward would show its whole tensors to the optimiser and to what is saved.
    fully_shard(module, mp_policy=policy, reshard_after_forward=True)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
    return module


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Transformer layers, as the model's class names them, and a float32 head among the module's own children."""
    names = {name for part in module.modules() for name in (getattr(part, "_no_split_modules", None) or ())}
    layers = [part for part in module.modules() if type(part).__name__ in names]
    if not layers:
        raise ModelError(
            "the model's class does not say which of its modules are layers",
            where="training.sharding",
            remedy="leave training.sharding out for this architecture",
        )
    yield from layers
    yield from (child for child in module.children() if isinstance(child, nn.Linear))


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on every process; every process calls it, in the same order."""
    if isinstance(tensor, DTensor):
        full: Tensor = tensor.full_tensor()
        return full.detach()
    return gathered(tensor) if in_zero3(tensor) else tensor.detach()


def alike(full: Tensor, like: Tensor) -> Tensor:
    """``full``, which every process has whole, or in shards, in the type, place and shards of ``like``."""
    if isinstance(full, DTensor) or not isinstance(like, DTensor):
        return full.to(like)
    local = full.to(like.device, like.dtype)
    return distribute_tensor(local, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def put(full: Tensor, parameter: Tensor, *, lasting: bool = True) -> None:
    """Set a parameter to ``full``; every process calls it, in the same order.

    Args:
        full: Its whole value, which every process has, or what :func:`held` gave.
        parameter: What is set.
        lasting: Set the float32 copy as well that ZeRO's next step goes on from; without it, that step undoes it.
    """
    if in_zero3(parameter):
        scatter(full, parameter)
    else:
        parameter.copy_(alike(full, parameter))
    if lasting and (in_zero3(parameter) or hasattr(parameter, "_hp_mapping")):
        set_trained_state(full, parameter)


def held(parameter: Tensor) -> Tensor:
    """A copy that :func:`put` takes back: this process's shard; what ZeRO-3 splits is whole, and on the host."""
    return gathered(parameter).cpu() if in_zero3(parameter) else parameter.detach().clone()


def even_packs(rows: Sequence[TrainRow], *, tokens: int, ranks: Ranks, sharded: bool) -> list[Pack]:
    """This process's forwards; with shards, as many as any process has, the last ones :attr:`Pack.filler`."""
    packs = make_packs(rows, tokens=tokens, device=ranks.device)
    if sharded:
        packs += [filler(ranks.device) for _ in range(max(ranks.gather(len(packs))) - len(packs))]
    return packs
