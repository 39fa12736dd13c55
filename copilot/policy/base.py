"""The contract of a policy engine: something that continues a conversation.

Engines: ``vllm`` (served, the default), ``transformers`` (in process), ``openai`` (any compatible API; no token ids)
and ``reference`` (the teacher that plays a task's own program). Token in, token out: an engine with a tokenizer gets
``prompt_ids`` and returns ``token_ids``; text is for people and parsers.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from copilot.config import StrictModel
from copilot.envs.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class SamplingParams(StrictModel):
    """How tokens are drawn."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus; keep at 1 when the samples are trained on with importance weights."""
    max_tokens: int = 1024
    """Tokens per turn, at most."""

    @property
    def logprob_temperature(self) -> float:
        """Temperature of the distribution that reported log-probabilities belong to: 1 for greedy sampling."""
        return self.temperature or 1.0


@dataclass(frozen=True)
class GenerationRequest:
    """One turn to be sampled."""

    messages: list[dict[str, Any]]
    """The conversation so far, as chat messages (for engines without token ids, and for people)."""
    prompt_ids: list[int] | None
    """The same as token ids; ``None`` for engines without a tokenizer."""
    task: Task
    """The task, host side; only the ``reference`` teacher looks at it."""
    turn: int
    """Index of the turn."""
    sampling: SamplingParams
    """How to draw."""
    seed: int
    """Seed of this turn."""
    adapter: str | None = None
    """Name of a loaded adapter; ``None``: the base model."""
    protocol: str = "markdown"
    """Wire protocol of the episode; the ``reference`` teacher writes its actions in it."""
    attempt: int = 0
    """Which attempt at the task; only a replay of recorded episodes looks at it."""


@dataclass(frozen=True)
class Generation:
    """A sampled turn."""

    text: str
    """Decoded, without special tokens."""
    finish_reason: Literal["stop", "length"] = "stop"
    """``stop``: the stop token was sampled (it is the last of ``token_ids``)."""
    token_ids: list[int] | None = None
    """Sampled ids, stop token included; ``None`` without token ids."""
    logprobs: list[float] | None = None
    """Log-probability of each under the sampling distribution; ``None`` for teachers."""
    policy_version: str = ""
    """Model and adapter version."""
    prompt_tokens: int = 0
    """Prompt tokens as the engine counted them."""
    completion_tokens: int = 0
    """Sampled tokens as the engine counted them."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Engine details worth recording (cost, request id); JSON values."""


class Policy(ABC):
    """A policy engine; start once, generate concurrently, close once."""

    tokenizer: "PreTrainedTokenizerBase | None" = None
    """Set after :meth:`start` when the engine works on token ids."""
    context_length: int | None = None
    """Longest prompt plus completion in tokens; ``None``: unknown."""
    label: str = ""
    """Model name for records."""

    @abstractmethod
    async def start(self) -> None:
        """Bring it up.

        Raises:
            ServerError, ModelError: With the log's tail and a remedy.
        """

    @abstractmethod
    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn.

        Raises:
            InfrastructureError: The engine failed after its retries; the episode is masked.
        """

    async def load_adapter(self, name: str, path: str) -> None:
        """Make the LoRA adapter at ``path`` available as ``name``; checks that it changes the log-probabilities."""
        raise NotImplementedError(f"{type(self).__name__} does not serve adapters")

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        raise NotImplementedError(f"{type(self).__name__} does not serve adapters")

    async def load_weights(self, path: str) -> None:
        """Replace the full weights by those in folder ``path``; the caller sees to it that nothing is being sampled."""
        raise NotImplementedError(f"{type(self).__name__} does not take full weights while it serves")

    async def take_weights(self, tensors: "Mapping[str, Tensor]", gather: "Callable[[Tensor], Tensor]") -> None:
        """Replace the full weights by this process's ``tensors``, each made whole by ``gather`` when its turn comes."""
        raise NotImplementedError(f"{type(self).__name__} takes full weights from files only")

    async def sleep(self) -> None:  # noqa: B027 (most engines have nothing to give back)
        """Give the device's memory back until :meth:`wake`, where the engine can; nothing is being sampled."""

    async def wake(self) -> None:  # noqa: B027
        """Be ready to sample again."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything; idempotent."""
