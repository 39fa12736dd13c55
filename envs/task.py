"""A task: one question, the data it is asked about, and its reference.

Only :meth:`Task.public` leaves the host; the reference and its program never reach a policy or a sandbox.
"""

from typing import Any

from pydantic import Field

from copilot.config import Record
from copilot.envs.actions import Action, ActionName
from copilot.reward.answers import Answer


class Reference(Record):
    """What is right, and a program that finds it."""

    answer: Answer
    """The typed right answer."""
    program: str = ""
    """Python that leaves the answer in ``answer`` when run in the task's sandbox; empty when unanswerable."""


class Task(Record):
    """One question of a source, as a line of a suite file."""

    id: str
    """Unique and stable: ``source/split/key``."""
    source: str
    """Name of the source that made it and serves its files."""
    split: str
    """``train``, ``valid``, ``test``, ``test_seen`` or ``test_unseen``."""
    question: str
    """What is asked; with a note or data excerpt in it where the source has one."""
    context: str = ""
    """What all tasks of the source share (a schema): placed before the question, for the prefix cache."""
    template: str = ""
    """Question template; splits hold templates out by this key."""
    category: str = ""
    """Kind of question, for tables."""
    permitted: tuple[ActionName, ...] = (ActionName.EXECUTE_CODE, ActionName.SUBMIT)
    """Actions this task allows; others are refused with a reason."""
    reference: Reference
    """Host only."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Provenance: upstream id, slot values, seeds. Host only."""

    def public(self) -> dict[str, Any]:
        """The part a policy may see."""
        return self.model_dump(include={"id", "source", "question", "context", "permitted"})


class WorkedExample(Record):
    """A solved question shown to base models, so that learning the format is not sold as learning medicine."""

    question: str
    """The question, not one of any split."""
    steps: tuple[tuple[Action, str], ...]
    """Actions with the feedback each got; the last is a submit with empty feedback."""
