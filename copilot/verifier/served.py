"""Scoring through vLLM: the next token is restricted to YES and NO, and the server says how likely each is.

The log-probabilities of the restricted distribution are the softmax over the two logits. All attempts at a task share
their beginning, so the server's prefix cache reads instruction and task once per task.
"""

import asyncio

from copilot.errors import ModelError
from copilot.policy.config import VllmConfig
from copilot.policy.factory import Weights
from copilot.policy.vllm_engine import VllmPolicy
from copilot.verifier.base import Scorer
from copilot.verifier.config import VerifierInfo
from copilot.verifier.encoding import Encoded, Encoder

_ADAPTER = "verifier"


class ServedScorer(Scorer):
    """A YES/NO verifier behind a vLLM server, one of its own or one reached by ``url``.

    Args:
        info: What the verifier's folder says.
        weights: Base model and adapter.
        engine: Not started; started and closed with the scorer.
        config: ``max_num_seqs`` bounds the requests in flight.

    Raises:
        ModelError: A scalar head, or a context shorter than the verifier's.
    """

    def __init__(self, info: VerifierInfo, weights: Weights, engine: VllmPolicy, config: VllmConfig) -> None:
        super().__init__(info)
        if info.head != "yes_no":
            raise ModelError("vLLM serves the yes_no head only", remedy="score in process: type: transformers")
        if config.max_model_len <= info.max_tokens:
            raise ModelError(
                f"the server's context of {config.max_model_len} tokens is no longer than the verifier's input of "
                f"{info.max_tokens}",
                remedy=f"set max_model_len: {info.max_tokens + 1} or more",
            )
        self._weights, self._engine = weights, engine
        self._slots = asyncio.Semaphore(2 * config.max_num_seqs)

    async def start(self) -> None:
        """Start or find the server and hand it the adapter; see :meth:`Scorer.start`."""
        await self._engine.start()
        assert self._engine.tokenizer is not None
        self.encoder = Encoder(self._engine.tokenizer, self.info.max_tokens)
        if self._weights.adapter is not None:
            await self._engine.load_adapter(_ADAPTER, self._weights.adapter)

    async def close(self) -> None:
        """See :meth:`Scorer.close`."""
        await self._engine.close()

    async def _logits(self, inputs: list[Encoded]) -> list[float]:
        return list(await asyncio.gather(*(self._logit(each.ids) for each in inputs)))

    async def _logit(self, ids: list[int]) -> float:
        adapter = _ADAPTER if self._weights.adapter is not None else None
        async with self._slots:
            yes, no = await self._engine.choice_logprobs(ids, (self.info.yes_id, self.info.no_id), adapter=adapter)
        return yes - no
