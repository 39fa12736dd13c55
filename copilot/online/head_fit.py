"""A critic's head in closed form: ridge regression from hidden states to returns, over all steps so far.

A few updates by gradient teach a new head the mean return of all tasks; while it does not tell tasks apart, advantages
push the policy away from whatever it does on hard ones, right or wrong. While nothing below the head learns (a frozen
trunk, or the warm-up), its states mean the same in every step, so each adds to the same normal equations, and the best
head on all tasks so far costs one solve: the values need the states anyway. The prior, the head as it came, is worth
:data:`PRIOR_TASKS` tasks, however many tokens these have.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from copilot.online.ranks import Ranks
from copilot.online.sharding import put, whole

PRIOR_TASKS = 2.0
"""Tasks that the prior is worth, in units of the states' mean variance."""
_FILE = "head_fit.safetensors"


class HeadFit:
    """Normal equations of a head, summed over tokens, steps and processes.

    Args:
        head: From hidden states to values; what it holds now is the prior.
        device: Of the sums.
    """

    def __init__(self, head: nn.Linear, device: torch.device) -> None:
        self._head = head
        self._prior_H = whole(head.weight)[0].to(device, torch.float64)
        size = len(self._prior_H) + 1  # the last one is the bias
        self._gram = torch.zeros(size, size, dtype=torch.float64, device=device)
        self._moment = torch.zeros(size, dtype=torch.float64, device=device)
        self._tasks = torch.zeros(1, dtype=torch.float64, device=device)

    @property
    def tasks(self) -> int:
        """Tasks seen so far."""
        return int(self._tasks)

    def learn(self, states: list[Tensor], returns: list[Tensor], *, tasks: int, ranks: Ranks) -> None:
        """Take in a step's tokens and set the head; every process calls it with its own.

        Args:
            states: Hidden states ``[N, H]`` of each forward.
            returns: Their returns ``[N]``.
            tasks: Tasks of the step, over all processes.
            ranks: The processes.
        """
        gram, moment = torch.zeros_like(self._gram), torch.zeros_like(self._moment)
        for states_NH, returns_N in zip(states, returns, strict=True):
            with_bias = torch.cat([states_NH, torch.ones_like(states_NH[:, :1])], dim=1).to(gram)
            gram += with_bias.T @ with_bias
            moment += with_bias.T @ returns_N.to(moment)
        ranks.add_up([gram, moment])
        self._gram += gram
        self._moment += moment
        self._tasks += tasks
        self._set()

    @torch.no_grad()
    def _set(self) -> None:
        count = self._gram[-1, -1]
        if count == 0:
            return
        mean_H, mean = self._gram[:-1, -1] / count, self._moment[-1] / count
        covariance_HH = self._gram[:-1, :-1] / count - torch.outer(mean_H, mean_H)
        ridge = (PRIOR_TASKS / self._tasks * covariance_HH.diagonal().mean()).clamp(min=1e-12)
        penalised_HH = covariance_HH + ridge * torch.eye(len(mean_H)).to(covariance_HH)
        target_H = self._moment[:-1] / count - mean * mean_H + ridge * self._prior_H
        weight_H = torch.linalg.solve(penalised_HH, target_H)
        put(weight_H[None], self._head.weight)
        put((mean - mean_H @ weight_H)[None], self._head.bias)

    def save(self, folder: Path, *, writes: bool = True) -> None:
        """Write the sums; they are the same on every process, and one ``writes``."""
        if writes:
            save_file(
                {"gram": self._gram.cpu(), "moment": self._moment.cpu(), "tasks": self._tasks.cpu()},
                str(folder / _FILE),
            )

    def load(self, folder: Path) -> None:
        """Take back what :meth:`save` wrote, and set the head; a checkpoint from past the warm-up has none."""
        if not (folder / _FILE).is_file():
            return
        held = load_file(str(folder / _FILE))
        self._gram, self._moment = held["gram"].to(self._gram), held["moment"].to(self._moment)
        self._tasks = held["tasks"].to(self._tasks)
        self._set()
