"""Parameters that DeepSpeed holds: what ZeRO-3 splits, and the float32 copies and moments that ZeRO's steps go on from.

Both are in shards, and in ZeRO-3 the last shard is padded, so they are read and set by DeepSpeed's own functions.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW has of each parameter."""


def in_zero3(tensor: Tensor) -> bool:
    """Whether its values are in shards."""
    return hasattr(tensor, "ds_id")


def gathered(parameter: Tensor) -> Tensor:
    """A whole copy of what ZeRO-3 splits."""
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters([parameter]):
        return parameter.detach().clone()


def scatter(full: Tensor, parameter: Tensor) -> None:
    """Set what ZeRO-3 splits; every process calls it, and gets what the first one has."""
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters([parameter], modifier_rank=0):
        if dist.get_rank() == 0:
            parameter.copy_(full)


def trained_state(parameter: Tensor, moment: str = "") -> Tensor:
    """All of a trained parameter in float32, or of one of its moments, on every process."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    full: Tensor = safe_get_full_optimizer_state(parameter, moment) if moment else safe_get_full_fp32_param(parameter)
    return full


def set_trained_state(full: Tensor, parameter: Tensor, moment: str = "") -> None:
    """Set this process's shard of it; nothing happens to a parameter that DeepSpeed does not train."""
    from deepspeed import utils

    if not parameter.requires_grad:
        return
    full = full.to(parameter.device, torch.float32)
    if not in_zero3(parameter):
        if moment:
            utils.safe_set_full_optimizer_state(parameter, full, moment)
        else:
            utils.safe_set_full_fp32_param(parameter, full)
        return
    size = utils.safe_get_local_fp32_param(parameter).numel()
    padded = nn.functional.pad(full.flatten(), (0, size * dist.get_world_size() - full.numel()))
    local = padded.narrow(0, size * dist.get_rank(), size)
    if moment:
        utils.safe_set_local_optimizer_state(parameter, local, moment)
    else:
        utils.safe_set_local_fp32_param(parameter, local)
