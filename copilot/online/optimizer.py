"""Gradients of many forwards on many processes, to one step of AdamW.

Every forward's loss is already its share of the whole minibatch (:mod:`copilot.online.aggregation`), so gradients are
summed, over forwards and ranks alike, and ranks need not have equally many. The learning rate is a pure function of
the step, and the state is saved as safetensors by parameter name: nothing is unpickled on resuming.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from copilot.errors import ModelError
from copilot.online.ranks import Ranks
from copilot.online.sharding import alike, put, whole
from copilot.training.config import WeightsConfig


def learning_rate(step: int, *, peak: float, steps: int, settings: WeightsConfig) -> float:
    """Learning rate of a step, from 1: warm-up, then the schedule."""
    warmup = math.ceil(settings.warmup_ratio * steps)
    if settings.schedule != "constant" and step <= warmup:
        return peak * step / (warmup + 1)
    done = (step - 1 - warmup) / max(1, steps - warmup)
    if settings.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak * (1 - done) if settings.schedule == "linear" else peak


class Part(ABC):
    """One set of parameters with a learning rate of its own: the policy, or the critic.

    Args:
        name: ``policy`` or ``critic``.
        parameters: By name.
        peak: Learning rate.
        settings: Schedule, decay and clipping.
    """

    loss_scale: float = 1.0
    """What a loss is multiplied by before its backward pass."""

    def __init__(
        self, name: str, parameters: Mapping[str, nn.Parameter], *, peak: float, settings: WeightsConfig
    ) -> None:
        if not parameters:
            raise ModelError(f"the {name} has no parameters to train", remedy="check training.lora.targets")
        self.name, self.parameters, self.peak, self.settings = name, dict(parameters), peak, settings

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step."""
        return learning_rate(step, peak=self.peak, steps=steps, settings=self.settings)

    @abstractmethod
    def step(self, step: int, steps: int, ranks: Ranks) -> dict[str, float]:
        """Sum the gradients, clip, move; a gradient that is not finite moves nothing.

        Returns:
            Figures: ``lr``, ``grad_norm`` and ``skipped``.
        """

    @abstractmethod
    def _state(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """``value`` and, after a step, Adam's moments of a parameter: whole tensors, made by all processes."""

    @abstractmethod
    def _restore(self, parameter: nn.Parameter, held: dict[str, Tensor]) -> None:
        """Take back what :meth:`_state` told."""

    def save(self, folder: Path, *, writes: bool = True) -> None:
        """Write parameters and Adam's moments; with shards every process calls it, and one ``writes``."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            for key, full in self._state(parameter).items():
                if writes:
                    state[f"{name}|{key}"] = full.contiguous().cpu()
        if writes:
            save_file(state, str(folder / f"{self.name}.safetensors"))

    def load(self, folder: Path) -> None:
        """Take back what :meth:`save` wrote."""
        with safe_open(str(folder / f"{self.name}.safetensors"), framework="pt") as file:  # type: ignore[no-untyped-call]
            held: dict[str, dict[str, Tensor]] = {name: {} for name in self.parameters}
            for entry in file.keys():  # noqa: SIM118 (it is no dict)
                name, _, key = entry.rpartition("|")
                held[name][key] = file.get_tensor(entry)
        for name, parameter in self.parameters.items():
            self._restore(parameter, held[name])


class AdamPart(Part):
    """A part with an AdamW of its own, over whole tensors or FSDP's shards."""

    def __init__(
        self, name: str, parameters: Mapping[str, nn.Parameter], *, peak: float, settings: WeightsConfig
    ) -> None:
        super().__init__(name, parameters, peak=peak, settings=settings)
        self._adam = torch.optim.AdamW(self.parameters.values(), lr=peak, weight_decay=settings.weight_decay)

    def step(self, step: int, steps: int, ranks: Ranks) -> dict[str, float]:
        """See :class:`Part`."""
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        ranks.add_up([gradient for gradient in gradients if not isinstance(gradient, DTensor)])
        limit = self.settings.max_grad_norm or math.inf
        norm = float(whole(nn.utils.clip_grad_norm_(self.parameters.values(), limit)))
        rate = self.rate(step, steps)
        for group in self._adam.param_groups:
            group["lr"] = rate
        if math.isfinite(norm):
            self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return {"lr": rate, "grad_norm": norm, "skipped": float(not math.isfinite(norm))}

    def _state(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state = {"value": parameter, **self._adam.state.get(parameter, {})}
        return {key: whole(value) for key, value in state.items()}

    def _restore(self, parameter: nn.Parameter, held: dict[str, Tensor]) -> None:
        put(held.pop("value"), parameter)
        if held:
            self._adam.state[parameter] = {
                key: value if key == "step" else alike(value, parameter) for key, value in held.items()
            }
