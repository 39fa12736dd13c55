"""Continuous batched decoding with a transformers model: rows join and leave between any two steps.

A lane holds the rows of one adapter. A prompt is computed once, alone and from the longest known prefix, so ragged
prompts cost no padding; then its row joins the batch, and each step computes one token per row. Every row draws
from its own random stream: what it is drawn does not depend on its neighbours, up to rounding.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from copilot.policy.base import SamplingParams
from copilot.policy.kv_cache import BatchCache, PrefixCache, cache_of, new_cache, row_of
from copilot.policy.sampling import draw_tokens, sampling_logprobs

_TRIM = 256


@dataclass
class Row:
    """A sequence being sampled."""

    ids: list[int]
    """Prompt, then what was sampled."""
    prompt_length: int
    """How many of them are the prompt."""
    sampling: SamplingParams
    """How to draw."""
    room: int
    """Tokens it may have, at most."""
    random: random.Random
    """Its own stream."""
    cancelled: Callable[[], bool] = lambda: False
    """Asked after every step."""
    logprobs: list[float] = field(default_factory=list)
    """One per sampled token."""
    finish_reason: Literal["stop", "length"] | None = None
    """Set when it is done."""

    def push(self, token: int, logprob: float, stop_ids: frozenset[int]) -> None:
        """Append a sampled token and see whether the row is done."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if token in stop_ids:
            self.finish_reason = "stop"
        elif len(self.logprobs) >= self.room:
            self.finish_reason = "length"


class Lane:
    """The rows of one adapter, decoded together.

    Args:
        model: A causal language model in eval mode, its adapter already active whenever a method is called.
        adapter: Whose prefixes may be reused.
        stop_ids: Tokens that end a row.
        prefixes: Shared by all lanes of the engine.
    """

    def __init__(
        self,
        model: nn.Module,
        adapter: str | None,
        stop_ids: frozenset[int],
        prefixes: PrefixCache,
        device: torch.device,
    ) -> None:
        self.adapter = adapter
        self._model, self._stop_ids, self._prefixes, self._device = model, stop_ids, prefixes, device
        self._batch, self._rows = BatchCache(), list[Row | None]()

    @property
    def live(self) -> list[Row]:
        """Rows not done yet."""
        return [row for row in self._rows if row is not None]

    def admit(self, rows: list[Row]) -> list[Row]:
        """Compute the prompts of ``rows``, draw their first tokens, and let them join; returns those already done."""
        joining = []
        logits = []
        for row in rows:
            logits_V, content = self._prefill(row)
            logits.append(logits_V)
            joining.append((row, content))
        self._draw(rows, torch.stack(logits))
        done = []
        late = []
        for row, content in joining:
            if row.finish_reason is not None:
                done.append(row)
                continue
            dead = next((i for i, occupant in enumerate(self._rows) if occupant is None), None)
            if dead is not None and self._batch.put(dead, content):
                self._rows[dead] = row
            else:
                late.append((row, content))
        if late:
            keep = [i for i, occupant in enumerate(self._rows) if occupant is not None]
            self._batch.rebuild(keep, [content for _, content in late])
            self._rows = [*self.live, *(row for row, _ in late)]
        return done

    def step(self) -> list[Row]:
        """Draw one token for every row; returns the rows that are done (or whose asker has gone)."""
        tokens_S1, positions_S1, mask_SL = self._step_inputs()
        output = self._model(
            input_ids=tokens_S1,
            position_ids=positions_S1,
            attention_mask=mask_SL,
            past_key_values=self._batch.cache,
            use_cache=True,
        )
        places = [i for i, row in enumerate(self._rows) if row is not None]
        self._draw(self.live, output.logits[places, -1])
        done = []
        for place in places:
            row = self._rows[place]
            if row is not None and (row.finish_reason is not None or row.cancelled()):
                kept = row_of(self._batch.cache, place, self._batch.starts[place])
                self._prefixes.keep(self.adapter, row.ids[:-1], kept)
                self._rows[place] = None
                done.append(row)
        self._tidy()
        return done

    def _prefill(self, row: Row) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        known, prefix = self._prefixes.longest(self.adapter, row.ids)
        rest = row.ids[known:]
        cache = cache_of(prefix, len(rest)) if known else new_cache()
        output = self._model(
            input_ids=torch.tensor([rest], device=self._device),
            position_ids=torch.arange(known, len(row.ids), device=self._device)[None],
            attention_mask=torch.ones((1, len(row.ids)), dtype=torch.long, device=self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        content = row_of(cache, 0, 0)
        if known < len(row.ids) // 2:  # new ground: siblings of this prompt are likely to follow
            self._prefixes.keep(self.adapter, row.ids, content)
        return output.logits[0, -1], content

    def _step_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        cursor = self._batch.cursor
        for place, row in enumerate(self._rows):
            if row is None:  # a dead row sees its own newest position only
                self._batch.starts[place] = cursor
        tokens = [[row.ids[-1]] if row is not None else [0] for row in self._rows]
        positions = [[len(row.ids) - 1] if row is not None else [0] for row in self._rows]
        starts_S1 = torch.tensor(self._batch.starts)[:, None]
        mask_SL = (torch.arange(cursor + 1)[None, :] >= starts_S1).long()
        to = self._device
        return torch.tensor(tokens).to(to), torch.tensor(positions).to(to), mask_SL.to(to)

    def _draw(self, rows: list[Row], logits_BV: Tensor) -> None:
        device = logits_BV.device
        temperature_B = torch.tensor([row.sampling.temperature for row in rows], device=device)
        top_p_B = torch.tensor([row.sampling.top_p for row in rows], device=device)
        uniform_B = torch.tensor([row.random.random() for row in rows], dtype=torch.float64, device=device)
        logprobs_BV = sampling_logprobs(logits_BV, temperature_B, top_p_B)
        tokens_B = draw_tokens(logprobs_BV, uniform_B, temperature_B == 0)
        chosen_B = logprobs_BV.gather(1, tokens_B[:, None]).squeeze(1)
        for row, token, logprob in zip(rows, tokens_B.tolist(), chosen_B.tolist(), strict=True):
            row.push(token, logprob, self._stop_ids)

    def _tidy(self) -> None:
        """Give back rows and padding once they are a good part of the work."""
        live = [i for i, row in enumerate(self._rows) if row is not None]
        slack = min((self._batch.starts[i] for i in live), default=0)
        if len(live) < 0.75 * len(self._rows) or (slack > _TRIM and slack > self._batch.cursor // 3):
            self._batch.rebuild(live, [])
            self._rows = [self._rows[i] for i in live]
