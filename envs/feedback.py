"""What a policy reads back, as short as it can be: results, errors, and the head and tail of long output.

Invariant: no feedback is longer than its cap, and none says whether an answer was right.
"""

from pydantic import JsonValue

from copilot.envs.actions import Feedback
from copilot.envs.protocols.wire import encode
from copilot.envs.sandboxes.base import CellResult

NO_OUTPUT = "(no output)"
MIN_CAP = 100
"""Smallest cap, in characters: the note itself needs some."""


def truncate(text: str, cap: int) -> tuple[str, int]:
    """Keep head and tail of ``text``, with a note between.

    Args:
        text: Anything.
        cap: Longest result in characters, at least :data:`MIN_CAP`.

    Returns:
        The text, at most ``cap`` characters long, and how many characters were left out (0: it is unchanged).
    """
    if len(text) <= cap:
        return text, 0
    room = cap - len(_note(len(text)))
    head, tail = room - room // 2, room // 2
    dropped = len(text) - head - tail
    return text[:head] + _note(dropped) + text[len(text) - tail :], dropped


def _note(dropped: int) -> str:
    return f"\n[... {dropped} characters left out ...]\n"


def bounded(feedback: Feedback, cap: int) -> Feedback:
    """``feedback`` within the cap."""
    text, dropped = truncate(feedback.text, cap)
    return feedback.evolve(text=text, truncated_chars=feedback.truncated_chars + dropped) if dropped else feedback


def invalid(reason: str) -> Feedback:
    """The answer to a message that is no permitted action, or to a submission of nothing."""
    return Feedback(text=f"Invalid: {reason}", status="invalid")


def of_cell(result: CellResult, *, code: str = "", answer: tuple[JsonValue] | None = None) -> Feedback:
    """What came of a cell or command.

    Args:
        result: As the sandbox reports it.
        code: The cell, to show the line that failed; empty for commands.
        answer: The value of ``answer`` in a 1-tuple, shown when there was no output; ``None``: it is not set.
    """
    printed = "\n".join(part for part in (result.stdout.rstrip(), _errors(result, code)) if part)
    if result.status == "ok" and not printed:
        printed = NO_OUTPUT if answer is None else f"answer = {encode(_shown(answer[0]))}"
    return Feedback(
        text=printed,
        status=result.status,
        error_type=result.error_type,
        truncated_chars=result.truncated_chars,
    )


def _shown(value: JsonValue) -> JsonValue:
    """The value with floats at six significant digits, far finer than any tolerance, for a third of the tokens."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return {key: _shown(item) for key, item in value.items()} if isinstance(value, dict) else value


def _errors(result: CellResult, code: str) -> str:
    lost = " Variables are lost." if result.state_lost else ""
    match result.status:
        case "ok":
            return result.stderr.strip()
        case "timeout":
            return f"Timeout after {result.seconds:.0f} s.{lost}"
        case "memory":
            return f"Out of memory.{lost}"
        case "crashed":
            return f"The interpreter crashed.{lost}\n{result.stderr.strip()}".strip()
        case "error" if not code or not result.error_type:
            return result.stderr.strip() or result.error_message or "Failed."
        case "error":
            return f"{result.error_type}: {result.error_message}{_at_line(result.error_line, code)}"


def _at_line(number: int | None, code: str) -> str:
    lines = code.split("\n")
    if number is None or not 0 < number <= len(lines):
        return ""
    return f"\nline {number}: {lines[number - 1].strip()}"
