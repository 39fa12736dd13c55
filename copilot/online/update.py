"""A step's updates: rows to packed forwards to gradients to steps of the optimiser.

Every rank holds the same rows and takes its share of them; each trained token is in exactly one forward per epoch.
Policy and critic each have a forward and backward of their own and are stepped together, so neither loses its
gradient to the other.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from copilot.online.aggregation import row_weights
from copilot.online.config import CriticSettings, LossSettings, OnlineTraining
from copilot.online.head_fit import HeadFit
from copilot.online.loss import LossOutput, PolicyTokens, policy_loss, value_loss
from copilot.online.model import ActorCritic
from copilot.online.optimizer import Part
from copilot.online.packing import Pack
from copilot.online.ranks import Ranks
from copilot.online.rows import TrainRow
from copilot.online.sharding import even_packs
from copilot.online.state import Resumable
from copilot.rollout.seeds import derive

Figures = dict[str, float]


@dataclass(frozen=True)
class Updater:
    """What all steps share."""

    model: ActorCritic
    """Policy, reference, critic."""
    policy: Part
    """The policy's parameters."""
    critic: Part | None
    """The critic's."""
    ranks: Ranks
    """The processes."""
    training: OnlineTraining
    """Sizes."""
    loss: LossSettings
    """The policy's loss."""
    critic_settings: CriticSettings | None
    """The critic's loss."""
    steps: int
    """Of the stage."""
    row_constant: int
    """What aggregation ``constant`` divides a row by: tokens an episode may sample."""
    seed: int
    """The run's seed."""
    head_fit: HeadFit | None = None
    """What the critic's head is set from, while it is set in closed form."""

    def share(self, rows: Sequence[TrainRow]) -> list[TrainRow]:
        """This rank's rows: whole groups, dealt so that ranks have about equally many tokens."""
        sizes: dict[int, int] = {}
        for row in rows:
            sizes[row.group] = sizes.get(row.group, 0) + len(row)
        loads, mine = [0] * self.ranks.size, set[int]()
        for group in sorted(sizes, key=lambda g: (-sizes[g], g)):
            rank = loads.index(min(loads))
            loads[rank] += sizes[group]
            if rank == self.ranks.rank:
                mine.add(group)
        return [row for row in rows if row.group in mine]

    def run(self, step: int, rows: Sequence[TrainRow], mine: Sequence[TrainRow]) -> Figures:
        """All updates of step ``step`` (from 1).

        Args:
            step: Number of the step.
            rows: Rows of all ranks.
            mine: This rank's, with advantages.

        Returns:
            Means over the step's trained tokens, and the optimiser's figures.
        """
        if not rows:  # every episode of the step is masked
            return {}
        if self.critic_settings is not None and step <= self.critic_settings.warmup_steps:
            return {}  # the policy rests
        torch.manual_seed(derive(self.seed, "update", step, self.ranks.rank))
        self._prepare(mine)
        outputs: list[Figures] = []
        for epoch in range(self.training.epochs):
            for minibatch in self._minibatches(rows, step, epoch):
                outputs.append(self._update(step, minibatch, mine))
        return _mean(outputs)

    def fitted(self, step: int) -> HeadFit | None:
        """What sets the critic's head in step ``step``; ``None``: its updates do, or there is none."""
        critic = self.critic_settings
        return self.head_fit if critic is not None and critic.fits_head(step) else None

    def parts(self) -> list[Resumable]:
        """What it is made of, for checkpoints."""
        return [part for part in (self.policy, self.critic, self.head_fit) if part is not None]

    def _minibatches(self, rows: Sequence[TrainRow], step: int, epoch: int) -> list[list[TrainRow]]:
        """Equal parts of the rows, groups in an order of their own; the same on every rank.

        Siblings stay together, so that their prompt is computed once.
        """
        groups: dict[int, list[TrainRow]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row)
        shuffled = list(groups.values())
        random.Random(derive(self.seed, "minibatches", step, epoch)).shuffle(shuffled)
        order = [row for group in shuffled for row in group]
        parts = min(self.training.minibatches, max(1, len(order)))
        cuts = [len(order) * part // parts for part in range(parts + 1)]
        return [order[begin:end] for begin, end in itertools.pairwise(cuts)]

    @torch.no_grad()
    def _prepare(self, mine: Sequence[TrainRow]) -> None:
        """Log-probabilities before the first update, where they are needed."""
        several = self.training.minibatches * self.training.epochs > 1
        refer = self.loss.kl.coefficient > 0
        self.model.train(False)
        for pack in self._packs(mine) if several or refer else ():
            if several:
                for row, logps_N in zip(pack.rows, pack.split(self.model.act(pack).logps_N), strict=True):
                    row.old_logps_N = logps_N
            if refer:
                for row, logps_N in zip(pack.rows, pack.split(self.model.refer(pack)), strict=True):
                    row.reference_N = logps_N

    def _packs(self, rows: Sequence[TrainRow]) -> list[Pack]:
        return even_packs(rows, tokens=self.training.forward_tokens, ranks=self.ranks, sharded=self.model.sharded)

    def _update(self, step: int, minibatch: Sequence[TrainRow], mine: Sequence[TrainRow]) -> Figures:
        """Forward and backward of this rank's part of a minibatch, then one step of everybody."""
        held = set(map(id, mine))
        trained = [len(row.trained) for row in minibatch]
        weights = row_weights(
            trained,
            self.loss.aggregation,
            total_tokens=sum(trained),
            total_rows=len(trained),
            constant=self.row_constant,
        )
        weight_of = {id(row): weight for row, weight in zip(minibatch, weights, strict=True)}
        value_weight = 1 / max(1, sum(trained))
        sums, maxima = Figures(), Figures()
        self.model.train(True)
        for pack in self._packs([row for row in minibatch if id(row) in held]):
            own = [0.0] if pack.filler else [weight_of[id(row)] for row in pack.rows]
            weights_N = torch.tensor(own, device=self.ranks.device)
            output = self._policy_backward(pack, weights_N[pack.rows_N])
            if not pack.filler:
                _collect(output, "loss", sums, maxima)
            if self.critic is not None:
                output = self._value_backward(pack, 0.0 if pack.filler else value_weight)
                if not pack.filler:
                    _collect(output, "value_loss", sums, maxima)
        return self._step(step, sums, maxima)

    def _policy_backward(self, pack: Pack, weights_N: torch.Tensor) -> LossOutput:
        scored = self.model.act(pack, entropy_gradient=self.loss.entropy > 0)
        several = pack.rows[0].old_logps_N is not None
        tokens = PolicyTokens(
            logps_N=scored.logps_N,
            entropy_N=scored.entropy_N,
            old_logps_N=pack.tensor("old_logps_N") if several else scored.logps_N.detach(),
            server_logps_N=pack.tensor("server_logps_N"),
            advantages_N=pack.tensor("advantages_N"),
            weights_N=weights_N,
            rows_N=pack.rows_N,
            reference_N=pack.tensor("reference_N") if self.loss.kl.coefficient else None,
        )
        output = policy_loss(tokens, self.loss)
        (self.policy.loss_scale * output.loss).backward()
        return output

    def _value_backward(self, pack: Pack, weight: float) -> LossOutput:
        assert self.critic_settings is not None
        assert self.critic is not None
        values_N = self.model.values(pack).values_N
        output = value_loss(
            values_N,
            pack.tensor("old_values_N"),
            pack.tensor("returns_N"),
            torch.full_like(values_N, weight),
            clip=self.critic_settings.clip,
        )
        (self.critic.loss_scale * self.critic_settings.coefficient * output.loss).backward()
        return output

    def _step(self, step: int, sums: Figures, maxima: Figures) -> Figures:
        moved = self.policy.step(step, self.steps, self.ranks)
        if self.critic is not None:
            moved |= {f"critic_{k}": v for k, v in self.critic.step(step, self.steps, self.ranks).items()}
        everyone = self.ranks.gather(maxima)
        largest = {n: max(own[n] for own in everyone if n in own) for n in {n for own in everyone for n in own}}
        return self.ranks.totals(sums) | largest | moved


_TOKEN_SUMS = frozenset(
    {
        "kl", "entropy", "clip_low", "clip_high", "ratio", "corrected",
        "server_ratio", "server_difference", "server_tail",
    }
)  # fmt: skip


def _collect(output: LossOutput, name: str, sums: Figures, maxima: Figures) -> None:
    for key, value in {name: output.loss.detach(), **output.sums}.items():
        sums[key] = sums.get(key, 0.0) + float(value)
    for key, value in output.maxima.items():
        maxima[key] = max(maxima.get(key, 0.0), float(value))


def _mean(updates: Sequence[Figures]) -> Figures:
    """Token sums over the tokens of all updates; the rest averaged over updates, maxima kept."""
    tokens = max(1.0, sum(update.get("tokens", 0.0) for update in updates))
    figures: Figures = {}
    for name in dict.fromkeys(name for update in updates for name in update):
        values = [update[name] for update in updates if name in update]
        if name.endswith("_max"):
            figures[name] = max(values)
        elif name == "tokens":
            figures["trained_tokens"] = sum(values)
        elif name in _TOKEN_SUMS:
            figures[name] = sum(values) / tokens
        else:
            figures[name] = sum(values) / len(values)
    return figures
