"""The episode's token rows while it is being played.

Invariant: a row's ids are what the policy was shown and what it sampled, in order; its mask is 1 exactly on sampled
tokens. The next prompt extends the row unless a message ended in a stop token that the chat template does not use:
then the template's own follows the text, another row opens, and the fork is counted.
"""

from math import isfinite

from copilot.data.trajectory import TokenRow, TurnSpan
from copilot.errors import InfrastructureError


class RowBuilder:
    """Collects the turns of one episode.

    Args:
        prompt: Ids before the first turn.
        stop_id: The chat template's stop token.
        temperature: Of the sampling distribution; 1 for greedy, whose log-probabilities are the model's own.
    """

    def __init__(self, prompt: list[int], *, stop_id: int, temperature: float) -> None:
        self.stop_id, self.temperature = stop_id, temperature
        self.forks = 0
        self._closed: list[TokenRow] = []
        self._open(prompt)

    def _open(self, ids: list[int]) -> None:
        self._ids = list(ids)
        self._mask = [0] * len(ids)
        self._logprobs: list[float] | None = [0.0] * len(ids)
        self._spans: list[TurnSpan] = []

    @property
    def prompt(self) -> list[int]:
        """Ids to continue from."""
        return list(self._ids)

    def add_sampled(self, turn: int, ids: list[int], logprobs: list[float] | None) -> None:
        """Append a turn's sampled tokens, the stop token included if it was sampled.

        Raises:
            InfrastructureError: The engine's log-probabilities are not one finite number per token.
        """
        if logprobs is not None and (len(logprobs) != len(ids) or not all(map(isfinite, logprobs))):
            raise InfrastructureError("server", f"{len(ids)} tokens came with unusable log-probabilities")
        start = len(self._ids)
        self._ids += ids
        self._mask += [1] * len(ids)
        if self._logprobs is None or logprobs is None:
            self._logprobs = None
        else:
            self._logprobs += logprobs
        self._spans.append(TurnSpan(turn=turn, start=start, end=len(self._ids)))

    def add_environment(self, ids: list[int], *, stopped: bool) -> None:
        """Append what the environment said.

        Args:
            ids: From after the stop token to where the next message begins.
            stopped: Whether the last turn's final token is a stop token; a cut message gets the template's, masked.
        """
        if stopped and self._ids[-1] != self.stop_id:
            shown = self._ids[:-1]
            self._close_row()
            self.forks += 1
            self._open([*shown, self.stop_id, *ids])
            return
        between = ids if stopped else [self.stop_id, *ids]
        self._ids += between
        self._mask += [0] * len(between)
        if self._logprobs is not None:
            self._logprobs += [0.0] * len(between)

    def rows(self) -> tuple[TokenRow, ...]:
        """The finished rows, each cut after its last sampled token."""
        self._close_row()
        return tuple(self._closed)

    def _close_row(self) -> None:
        if not self._spans:
            return
        end = self._spans[-1].end
        self._closed.append(
            TokenRow(
                ids=tuple(self._ids[:end]),
                mask=tuple(self._mask[:end]),
                logprobs=None if self._logprobs is None else tuple(self._logprobs[:end]),
                temperature=self.temperature,
                spans=tuple(self._spans),
            )
        )
        self._spans = []
