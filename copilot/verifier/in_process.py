"""Scoring inside this process: what attempts at a task begin with is computed once, the rest in batches of like length.

The head is asked at one position per row. The scalar head has no use for a cache: its rows are computed whole.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from copilot.data.transcript import Transcript
from copilot.policy.config import TransformersConfig
from copilot.policy.factory import Weights
from copilot.policy.tokens import load_tokenizer
from copilot.verifier.base import Scorer
from copilot.verifier.config import VerifierInfo
from copilot.verifier.encoding import Encoded, Encoder

_PADDING = 1.1
"""A batch's padded size over its tokens, at most."""


class InProcessScorer(Scorer):
    """A verifier on this machine's GPU, or its CPU.

    Args:
        info: What the verifier's folder says.
        weights: Base model and adapter.
        config: ``dtype`` and ``max_batch``.
        device: GPU index; ``None``: the first GPU, else the CPU.
    """

    def __init__(
        self, info: VerifierInfo, weights: Weights, config: TransformersConfig, *, device: int | None = None
    ) -> None:
        super().__init__(info)
        self._weights, self._config, self._device = weights, config, device
        self._model: Any = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Load the model; see :meth:`Scorer.start`."""
        tokenizer = await asyncio.to_thread(load_tokenizer, self._weights.model)
        self.encoder = Encoder(tokenizer, self.info.max_tokens)
        self._pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        self._model = await asyncio.to_thread(self._load)

    async def close(self) -> None:
        """Let go of the model; see :meth:`Scorer.close`."""
        self._model = None

    async def logits_of_rows(self, rows: Sequence[dict[str, Any]]) -> list[float]:
        """Logits of a build stage's rows, for calibration; starts and closes the scorer."""
        await self.start()
        transcripts = [Transcript(row["task"], tuple(row["turns"]), row["end"]) for row in rows]
        logits = await self._logits_once(self.encoder.encode_all(transcripts))
        await self.close()
        return logits

    async def _logits(self, inputs: list[Encoded]) -> list[float]:
        async with self._lock:
            return await asyncio.to_thread(self._forward, inputs)

    def _load(self) -> Any:
        import torch

        from copilot.models.quiet import quiet_transformers
        from copilot.verifier.heads import load_verifier

        cuda = torch.cuda.is_available()
        automatic = "bfloat16" if cuda else "float32"
        dtype = getattr(torch, automatic if self._config.dtype == "auto" else self._config.dtype)
        with quiet_transformers():
            model: Any = load_verifier(self._weights, self.info, dtype=dtype)
        return model.to(torch.device("cuda", self._device or 0) if cuda else torch.device("cpu"))

    def _forward(self, inputs: list[Encoded]) -> list[float]:
        import torch

        from copilot.verifier.heads import logits_of, prefix_cache

        info, found = self.info, dict[int, float]()
        with torch.inference_mode():
            for shared, family in families(inputs) if info.head == "yes_no" else [(0, list(range(len(inputs))))]:
                cache = prefix_cache(self._model, inputs[family[0]].ids[:shared]) if shared else None
                rests = [inputs[i].ids[shared:] for i in family]
                for batch in batches([len(ids) for ids in rests], self._config.max_batch):
                    rows = [rests[i] for i in batch]
                    logits_B = logits_of(
                        self._model, info.head, rows, info.yes_id, info.no_id, self._pad_id, after=cache
                    )
                    found.update(zip((family[i] for i in batch), logits_B.tolist(), strict=True))
        return [found[i] for i in range(len(inputs))]


def families(inputs: Sequence[Encoded]) -> list[tuple[int, list[int]]]:
    """How many tokens each family of inputs shares, and their indices; those that begin like no other share none."""
    of: dict[tuple[int, ...], list[int]] = {}
    for i, each in enumerate(inputs):
        of.setdefault(tuple(each.ids[: each.shared]), []).append(i)
    alone = [family[0] for family in of.values() if len(family) == 1]
    found = [(len(start), family) for start, family in of.items() if len(family) > 1]
    return [*found, (0, alone)] if alone else found


def batches(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Indices in batches of at most ``most``, of lengths so alike that little of a batch is padding."""
    batch: list[int] = []
    tokens = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) == most or lengths[i] * (len(batch) + 1) > _PADDING * (tokens + lengths[i])):
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i]
    if batch:
        yield batch
