"""The contract of a scorer: a trained verifier that gives each trajectory a probability of being right.

Two engines: in process (:mod:`copilot.verifier.in_process`; both heads) and through vLLM
(:mod:`copilot.verifier.served`; the YES/NO head, batched and prefix-cached). Invariant: a score is a number strictly
between 0 and 1 that the model gave; where there is none an error is raised, never a default.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from copilot.data.trajectory import Trajectory
from copilot.data.transcript import transcript
from copilot.errors import DataError
from copilot.verifier.config import VerifierInfo
from copilot.verifier.encoding import Encoded, Encoder


class Scorer(ABC):
    """Scores trajectories; start once, score concurrently, close once.

    Args:
        info: What the verifier's folder says.
    """

    encoder: Encoder
    """Set by :meth:`start`."""

    def __init__(self, info: VerifierInfo) -> None:
        self.info = info
        self.cut = 0
        """Trajectories so far whose earliest turns did not fit."""
        self.tokens = 0
        """Tokens read so far."""

    @abstractmethod
    async def start(self) -> None:
        """Bring the model up.

        Raises:
            ServerError, ModelError: With a remedy.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything; idempotent."""

    @abstractmethod
    async def _logits(self, inputs: list[Encoded]) -> list[float]:
        """One finite logit per input, in order."""

    async def score(self, trajectories: Sequence[Trajectory], *, after: Sequence[int] | None = None) -> list[float]:
        """Probability in (0, 1) that each trajectory is right, calibrated if the verifier is; in order.

        Args:
            trajectories: Finished episodes.
            after: For each, how many turns are looked at, as if the rest were still to come; ``None``: all of it.
                For verifiers trained with ``prefixes``.

        Raises:
            DataError: Trajectories that infrastructure broke, or that do not fit the context; with counts.
            InfrastructureError: The engine failed after its retries.
        """
        return self.info.calibration.scores(await self.logits(trajectories, after=after))

    async def logits(self, trajectories: Sequence[Trajectory], *, after: Sequence[int] | None = None) -> list[float]:
        """The verifier's raw logits, before calibration; equal inputs are read once. See :meth:`score`."""
        masked = sum(t.masked for t in trajectories)
        if masked:
            raise DataError(
                f"{masked} of {len(trajectories)} trajectories were broken by infrastructure: they have no outcome",
                remedy="leave masked samples out, or play them again",
            )
        until = after if after is not None else [None] * len(trajectories)
        views = [transcript(t, after=turns) for t, turns in zip(trajectories, until, strict=True)]
        encoded = self.encoder.encode_all(views)
        self.cut += sum(each.cut_tokens > 0 for each in encoded)
        return await self._logits_once(encoded)

    async def _logits_once(self, encoded: Sequence[Encoded]) -> list[float]:
        """One logit per input, in order; equal inputs are read once."""
        once = {tuple(each.ids): each for each in encoded}
        self.tokens += sum(map(len, once))
        logits = dict(zip(once, await self._logits(list(once.values())), strict=True))
        return [logits[tuple(each.ids)] for each in encoded]
