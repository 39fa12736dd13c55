"""Gradients of many forwards on many processes, to one step of AdamW.

Every forward's loss is already its share of the whole minibatch (:mod:`copilot.online.aggregation`), so gradients are
summed, over forwards and ranks alike, and ranks need not have equally many. The learning rate is a pure function of
the step, and the state is saved as safetensors by parameter name: nothing is unpickled on resuming.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from copilot.errors import ModelError
from copilot.online.ranks import Ranks
from copilot.online.sharding import alike, whole
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


class Part:
    """One set of parameters with a learning rate of its own: the policy, or the critic.

    Args:
        name: ``policy`` or ``critic``.
        parameters: By name.
        peak: Learning rate.
        settings: Schedule, decay and clipping.
    """

    def __init__(
        self, name: str, parameters: Mapping[str, nn.Parameter], *, peak: float, settings: WeightsConfig
    ) -> None:
        if not parameters:
            raise ModelError(f"the {name} has no parameters to train", remedy="check training.lora.targets")
        self.name, self.parameters, self._peak, self._settings = name, dict(parameters), peak, settings
        self._adam = torch.optim.AdamW(self.parameters.values(), lr=peak, weight_decay=settings.weight_decay)

    def step(self, step: int, steps: int, ranks: Ranks) -> dict[str, float]:
        """Sum the gradients, clip, move; a gradient that is not finite moves nothing.

        Returns:
            Figures: ``lr``, ``grad_norm`` and ``skipped``.
        """
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        ranks.add_up([gradient for gradient in gradients if not isinstance(gradient, DTensor)])
        limit = self._settings.max_grad_norm or math.inf
        norm = float(whole(nn.utils.clip_grad_norm_(self.parameters.values(), limit)))
        rate = learning_rate(step, peak=self._peak, steps=steps, settings=self._settings)
        for group in self._adam.param_groups:
            group["lr"] = rate
        if math.isfinite(norm):
            self._adam.step()
        self.forget()
        return {"lr": rate, "grad_norm": norm, "skipped": float(not math.isfinite(norm))}

    def forget(self) -> None:
        """Drop the gradients collected so far."""
        self._adam.zero_grad(set_to_none=True)

    def save(self, folder: Path, *, writes: bool = True) -> None:
        """Write parameters and Adam's moments; with shards every process calls it, and one ``writes``."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            for key, value in {"value": parameter, **self._adam.state.get(parameter, {})}.items():
                full = whole(value)
                if writes:
                    state[f"{name}|{key}"] = full.contiguous().cpu()
        if writes:
            save_file(state, str(folder / f"{self.name}.safetensors"))

    def load(self, folder: Path) -> None:
        """Take back what :meth:`save` wrote."""
        with safe_open(str(folder / f"{self.name}.safetensors"), framework="pt") as file:  # type: ignore[no-untyped-call]
            moments: dict[str, dict[str, Tensor]] = {name: {} for name in self.parameters}
            for entry in file.keys():  # noqa: SIM118 (it is no dict)
                name, _, key = entry.rpartition("|")
                value, parameter = file.get_tensor(entry), self.parameters[name]
                if key == "value":
                    with torch.no_grad():
                        parameter.copy_(alike(value, parameter))
                else:
                    moments[name][key] = value if key == "step" else alike(value, parameter)
        self._adam.state.update({self.parameters[name]: held for name, held in moments.items() if held})
