"""Gradients of many forwards on many processes, to one step of AdamW.

Every forward's loss is already its share of the whole minibatch (:mod:`copilot.online.aggregation`), so gradients are
summed, over forwards and ranks alike, and ranks need not have equally many. The learning rate is a pure function of
the step, and the state is saved as safetensors by parameter name: nothing is unpickled on resuming.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from copilot.errors import ModelError
from copilot.online.ranks import Ranks
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
        ranks.add_up(gradients)
        limit = self._settings.max_grad_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.parameters.values(), limit))
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

    def save(self, folder: Path) -> None:
        """Write parameters and Adam's moments."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            state[f"{name}|value"] = parameter.detach().contiguous()
            for key, value in self._adam.state.get(parameter, {}).items():
                state[f"{name}|{key}"] = value.detach().contiguous()
        save_file(state, str(folder / f"{self.name}.safetensors"))

    def load(self, folder: Path) -> None:
        """Take back what :meth:`save` wrote."""
        state = load_file(str(folder / f"{self.name}.safetensors"))
        for name, parameter in self.parameters.items():
            with torch.no_grad():
                parameter.copy_(state[f"{name}|value"])
            moments = {key.rpartition("|")[2]: value for key, value in state.items() if key.startswith(f"{name}|")}
            del moments["value"]
            if moments:
                self._adam.state[parameter] = {
                    key: value if key == "step" else value.to(parameter) for key, value in moments.items()
                }
