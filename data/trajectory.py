"""The recorded episode: everything needed to train on it, grade it again or show it.

Token-exact by construction: a :class:`TokenRow` holds the ids the policy saw and sampled, in order, with
``mask`` 1 exactly on sampled tokens (the stop token included) and the log-probabilities of the sampling
distribution. A turn whose prompt extends the row's ids is appended to it; otherwise it opens another row.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import takewhile
from math import isfinite
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from copilot.config import Record
from copilot.envs.actions import Action, Feedback
from copilot.version import SCHEMA_VERSION

SuccessRule = Literal["submitted", "any_attempt"]
"""The two success rates of DESIGN decision 10: the submitted answer was right, or some turn's visible answer was."""


class StopReason(StrEnum):
    """Why an episode ended."""

    SUBMITTED = "submitted"
    MAX_TURNS = "max_turns"
    LOOP = "loop"
    """The same action, or none, drew the same feedback too often in a row (``rollout.max_repeats``)."""
    HOPELESS = "hopeless"
    """A verifier gave it too small a chance to go on."""
    CONTEXT = "context"
    """The next turn would not have fitted the model's context."""
    FAILURE = "failure"
    """Infrastructure broke; the sample is masked, never scored 0."""


class TurnSpan(Record):
    """Where a turn's sampled tokens lie in a row."""

    turn: int
    """Index of the turn."""
    start: int
    """First sampled token (inclusive)."""
    end: int
    """Last sampled token (exclusive), the stop token included."""


class TokenRow(Record):
    """One training row. ``ids``, ``mask`` and ``logprobs`` have the same length T."""

    ids: tuple[int, ...]
    """Token ids, prompt first."""
    mask: tuple[int, ...]
    """1 exactly on sampled tokens."""
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each sampled token under the sampling distribution, 0 elsewhere; ``None`` for teachers."""
    temperature: float = 1.0
    """Temperature of the sampling distribution (divide logits by it to compare)."""
    spans: tuple[TurnSpan, ...]
    """The turns in this row."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lengths = {len(self.ids), len(self.mask)} | ({len(self.logprobs)} if self.logprobs is not None else set())
        if not all(map(isfinite, self.logprobs or ())):
            raise ValueError("logprobs are not all finite")
        if len(lengths) != 1:
            raise ValueError(f"ids, mask and logprobs differ in length: {sorted(lengths)}")
        sampled = [0] * len(self.ids)
        for span in self.spans:
            sampled[span.start : span.end] = [1] * (span.end - span.start)
        if sampled != list(self.mask):
            raise ValueError("mask is not 1 exactly on the spans' tokens")
        return self


class Turn(Record):
    """A model message and what the environment answered."""

    index: int
    """From 0."""
    text: str
    """The message as decoded, without the stop token."""
    action: Action
    """What it was read as."""
    feedback: Feedback
    """What came back."""
    attempt_correct: bool | None = None
    """Whether the answer visible after it (``answer`` variable or submitted value) was right; ``None``: none was."""
    prompt_tokens: int = 0
    """Tokens the policy saw."""
    completion_tokens: int = 0
    """Tokens it sampled."""
    finish_reason: Literal["stop", "length"] = "stop"
    """Whether the message ended by itself."""
    policy_version: str = ""
    """Model and adapter version that sampled it."""
    generate_seconds: float = 0.0
    """Wall time of sampling."""
    execute_seconds: float = 0.0
    """Wall time of the action."""

    @property
    def failed(self) -> bool:
        """Whether the action was no action, or did not run through."""
        return self.feedback.status not in ("ok", "submitted")


class Outcome(Record):
    """How the episode ended, by both rules (DESIGN decision 10)."""

    submitted: bool = False
    """Whether the policy submitted at all."""
    submitted_correct: bool = False
    """Whether what it submitted was right: the honest success."""
    any_attempt_correct: bool = False
    """Whether any turn's visible answer was right: the paper's oracle-stopped success."""
    answer: JsonValue = None
    """What was submitted."""
    reason: str = ""
    """The grader's reason."""


class Failure(Record):
    """What broke, where; attributed once, recorded once."""

    boundary: str
    """``server``, ``sandbox``, ``source`` or ``grader``."""
    message: str
    """What happened."""


class Trajectory(Record):
    """One attempt at one task."""

    schema_version: int = SCHEMA_VERSION
    """Readers refuse other versions."""
    task_id: str
    """The task."""
    attempt: int
    """0 .. K-1; (task_id, attempt) is unique in a store."""
    source: str
    """Of the task, like ``split``, ``template``, ``category``."""
    split: str = ""
    """Split."""
    template: str = ""
    """Question template."""
    category: str = ""
    """Kind of question."""
    question: str = ""
    """The task's question, for the report and for splits' hygiene."""
    policy: str
    """Label of the policy in tables (``base``, ``sft``, ``reference``)."""
    model: str = ""
    """Model path or name, with the adapter's."""
    protocol: str
    """Wire protocol."""
    seed: int = 0
    """Seed of the episode (sampling and sandbox)."""
    prompt: tuple[dict[str, Any], ...]
    """Chat messages before the first turn."""
    turns: tuple[Turn, ...]
    """What happened."""
    rows: tuple[TokenRow, ...] = ()
    """Token-exact training rows; empty for policies without token ids."""
    forks: int = 0
    """Turns whose prompt did not extend the previous ids (drift tally)."""
    outcome: Outcome
    """How it ended."""
    stop_reason: StopReason
    """Why it ended."""
    failure: Failure | None = None
    """Set when infrastructure broke."""
    isolation: str = ""
    """Sandbox backend and level (``local/namespaces``)."""
    started_at: float = 0.0
    """Unix time."""
    seconds: float = 0.0
    """Wall time of the episode."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions that matter."""

    @property
    def key(self) -> tuple[str, int]:
        """What identifies the episode in a store."""
        return self.task_id, self.attempt

    @property
    def masked(self) -> bool:
        """Whether the sample must be left out of every score and loss."""
        return self.failure is not None

    def success(self, rule: SuccessRule) -> bool:
        """Whether the task was solved by ``rule``; never for masked samples."""
        right = {"submitted": self.outcome.submitted_correct, "any_attempt": self.outcome.any_attempt_correct}
        return right[rule] and not self.masked


def trailing_repeats(turns: Sequence[Turn]) -> int:
    """How many of the last turns, in a row, had the same action (or none) and the same feedback."""
    marks = ((turn.action, turn.feedback) for turn in reversed(turns))
    last = next(marks, None)
    return 1 + sum(1 for _ in takewhile(lambda mark: mark == last, marks)) if last else 0
