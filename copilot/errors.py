"""The one error model: every failure names what was wrong, where, and what to do.

Two families. A :class:`CopilotError` is somebody's mistake (a recipe, a file, a model name): it ends the
command with one clear message and exit code 2. An :class:`InfrastructureError` is nobody's: the sample it
hits is recorded as failed and masked, never scored 0. Neither family ever loses what was already written.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class CopilotError(Exception):
    """A mistake its reader can mend.

    Args:
        what: What was wrong, with the offending name or value in it.
        where: File, line, recipe key or address at fault.
        remedy: What to do about it.
    """

    boundary: ClassVar[str] = "copilot"
    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """The message, a line per part, for a terminal."""
        parts = [f"{self.boundary}: {self.what}"]
        if self.where is not None:
            parts.append(f"  where: {self.where}")
        if self.remedy:
            parts.append(f"  do:    {self.remedy}")
        return parts


class RecipeError(CopilotError):
    """A recipe that cannot be run: unknown key, wrong type, missing stage."""

    boundary = "recipe"


class DataError(CopilotError):
    """A data folder, task file or trajectory store that cannot be read as what it should be."""

    boundary = "data"


class EmptyDatasetError(DataError):
    """A filter or builder that left nothing to train on; the message carries the counts."""


class ModelError(CopilotError):
    """A model, tokenizer, adapter or checkpoint that is missing or does not fit."""

    boundary = "model"


class ServerError(CopilotError):
    """A policy server that does not start, answer or do what it promised."""

    boundary = "server"


class SandboxError(CopilotError):
    """A sandbox that cannot be had at the required level of isolation."""

    boundary = "sandbox"


class InfrastructureError(Exception):
    """A failure that is not the policy's fault; the episode is masked, and may be retried.

    Args:
        boundary: Where it broke: ``sandbox``, ``server``, ``source``, ``grader``.
        message: What happened.
    """

    def __init__(self, boundary: str, message: str) -> None:
        self.boundary, self.message = boundary, message
        super().__init__(f"{boundary}: {message}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when something close is known, else the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
