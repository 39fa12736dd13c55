"""Weights in shards by DeepSpeed: ZeRO-2 (gradients and optimiser) and ZeRO-3 (weights too), as in offline stages.

The engine has the forward, the sum of the gradients, the clipping and AdamW; rows, losses and learning rates stay the
loop's. What is saved is what :class:`~copilot.online.optimizer.Part` saves, whole tensors by name in safetensors, so
a run may go on with another number of processes, or without DeepSpeed.
"""

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from copilot.errors import RecipeError
from copilot.online.model import ActorCritic
from copilot.online.optimizer import Part
from copilot.online.ranks import Ranks
from copilot.online.sharding import put
from copilot.online.zero_tensors import MOMENTS, set_trained_state, trained_state
from copilot.training.config import WeightsConfig
from copilot.training.engine import prepare_deepspeed_on_cpu


class Engine:
    """A module under DeepSpeed, with all parts of the model that lie in it.

    Args:
        module: What is called.
        parts: Those with parameters in it; none: it is not trained (a reference under ZeRO-3).
        training: The stage's settings.
        file: DeepSpeed's.
    """

    def __init__(self, module: nn.Module, parts: "list[ZeroPart]", training: WeightsConfig, file: Path) -> None:
        import deepspeed

        self._parts, self._moved = parts, dict[str, dict[str, float]]()
        groups = [{"params": list(part.parameters.values()), "lr": part.peak} for part in parts]
        adam = torch.optim.AdamW(groups, weight_decay=training.weight_decay) if groups else None
        trained = [parameter for part in parts for parameter in part.parameters.values()]
        bf16 = any(p.dtype is torch.bfloat16 for p in trained or module.parameters())
        hidden = cast(PreTrainedModel, module.model).config.get_text_config().hidden_size
        config = deepspeed_config(file, clip=training.max_grad_norm, bf16=bf16, hidden=hidden)
        self.module, *_ = deepspeed.initialize(model=module, optimizer=adam, config=config, dist_init_required=False)
        got = f"zero{self.module.zero_optimization_stage()}"
        self._stage3 = got == "zero3"
        if got != training.deepspeed:
            raise RecipeError(
                f"training.deepspeed is {training.deepspeed!r}, but the engine is {got!r}",
                remedy="start it with `accelerate launch` without another engine in its config",
            )
        for part in parts:
            part.engine = self
            part.loss_scale = float(self.module.dp_world_size)  # DeepSpeed takes the mean over processes

    @property
    def adam(self) -> torch.optim.AdamW:
        """The optimiser of this process's shards."""
        return cast(torch.optim.AdamW, self.module.optimizer.optimizer)

    def flats(self) -> list[Tensor]:
        """This process's shards in float32, as AdamW knows them."""
        zero = self.module.optimizer
        return list(zero.fp32_partitioned_groups_flat if self._stage3 else zero.single_partition_of_fp32_groups)

    def step(self, asked: "ZeroPart", step: int, steps: int) -> dict[str, float]:
        """Move all parts at once when the first of them is asked for; the others report it."""
        if asked.name not in self._moved:
            for part, group in zip(self._parts, self.module.optimizer.param_groups, strict=True):
                group["lr"] = part.rate(step, steps)
            self.module.step()
            if self._stage3:  # it would add the critic's next gradient to this one, as the policy's comes first
                self.module.optimizer.grad_partitions_flat_buffer.zero_()
            skipped = bool(self.module.optimizer.overflow)
            norm = math.inf if skipped else float(self.module.get_global_grad_norm())
            self._moved = {
                part.name: {"lr": part.rate(step, steps), "grad_norm": norm, "skipped": float(skipped)}
                for part in self._parts
            }
        return self._moved.pop(asked.name)

    def begin_moments(self, step: Tensor) -> None:
        """Have room for Adam's moments before its first step, as ``step`` steps leave it."""
        for flat in self.flats():
            moments = {name: torch.zeros_like(flat) for name in MOMENTS}
            self.adam.state[flat] = {"step": step.clone(), **moments}
        if not self._stage3:  # ZeRO-2 finds a parameter's moments by what it notes here
            self.module.optimizer._lazy_init_hp_params_optimizer_state()


class ZeroPart(Part):
    """A part whose gradients, moments and perhaps weights are DeepSpeed's."""

    engine: Engine
    """What it lies in."""

    def step(self, step: int, steps: int, ranks: Ranks) -> dict[str, float]:
        """See :class:`Part`; gradients of all parts on one base are clipped together."""
        return self.engine.step(self, step, steps)

    def _state(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        held = {"value": trained_state(parameter)}
        state = self.engine.adam.state
        if state:
            held |= {name: trained_state(parameter, name) for name in MOMENTS}
            held["step"] = state[self.engine.flats()[0]]["step"].clone()
        return held

    def _restore(self, parameter: nn.Parameter, held: dict[str, Tensor]) -> None:
        put(held["value"], parameter)
        if "step" not in held:
            return
        if not self.engine.adam.state:
            self.engine.begin_moments(held["step"])
        for name in MOMENTS:
            set_trained_state(held[name], parameter, name)


def zero_parts(
    model: ActorCritic, trained: Mapping[str, tuple[Mapping[str, nn.Parameter], float]], training: WeightsConfig
) -> dict[str, ZeroPart]:
    """Put a model's forwards under DeepSpeed.

    Args:
        model: Its modules are replaced by engines.
        trained: Parameters and learning rate of each part.
        training: The stage's settings; ``training.deepspeed`` names the engine.

    Returns:
        The parts by name.

    Raises:
        RecipeError: DeepSpeed is not installed, or the engine is not the one asked for.
    """
    file = training.deepspeed_file()
    assert file is not None
    if find_spec("deepspeed") is None:
        raise RecipeError(
            "DeepSpeed is not installed",
            where="training.deepspeed",
            remedy="install the extra gpu or cpu, or set training.sharding: fsdp instead",
        )
    import deepspeed

    if not torch.cuda.is_available():
        prepare_deepspeed_on_cpu()
    deepspeed.init_distributed(dist_init_required=False, auto_mpi_discovery=False)
    parts = {name: ZeroPart(name, own, peak=peak, settings=training) for name, (own, peak) in trained.items()}

    def take(module: nn.Module) -> nn.Module:
        inside = set(map(id, module.parameters()))
        here = [part for part in parts.values() if any(id(p) in inside for p in part.parameters.values())]
        if not here and training.deepspeed == "zero2":
            return module
        return cast(nn.Module, Engine(module, here, training, file).module)

    model.shard(take)
    return parts


def deepspeed_config(file: Path, *, clip: float, bf16: bool, hidden: int) -> dict[str, Any]:
    """DeepSpeed's file with what the loop decides in the place of every ``auto``.

    Args:
        file: The file.
        clip: Largest norm of a gradient; 0: any.
        bf16: Whether weights are computed with in bfloat16, beside a float32 copy.
        hidden: The model's hidden size; weights of ten rows or fewer stay whole on every process, as in transformers.
    """
    config = _without_auto(json.loads(file.read_text(encoding="utf-8")))
    if config["zero_optimization"]["stage"] == 3:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 10 * hidden
    decided = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,  # a step has as many forwards as it needs
        "gradient_clipping": clip,
        "bf16": {"enabled": bf16},
    }
    return cast(dict[str, Any], config) | decided


def _without_auto(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_auto(inner) for key, inner in value.items() if inner != "auto"}
