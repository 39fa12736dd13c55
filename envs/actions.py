"""What a policy can do in a turn: five typed actions, and what came back.

The wire form (JSON, tool call, fenced code) is a protocol's business; the environment sees these records only.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from copilot.config import Record


class ActionName(StrEnum):
    """The five actions, by the paper's names (arXiv 2506.04405, section 3) plus ``submit``."""

    REQUEST_INFO = "request_info"
    TERMINAL = "terminal"
    EXECUTE_CODE = "execute_code"
    DEBUG = "debug"
    SUBMIT = "submit"


class RequestInfo(Record):
    """Look into the task's data files without writing code."""

    type: Literal["request_info"] = "request_info"
    data_path: str = ""
    """A mounted file or a table of the database; empty: all of them."""
    info_type: Literal["column_names", "column_values", "term"] = "column_names"
    """What to look up."""
    keyterm: str = ""
    """The column (``column_values``) or the text to search (``term``)."""


class Terminal(Record):
    """Run a shell command inside the sandbox."""

    type: Literal["terminal"] = "terminal"
    cmd: str
    """The command line."""


class ExecuteCode(Record):
    """Run a cell of Python; variables live on to the next cell."""

    type: Literal["execute_code"] = "execute_code"
    code: str
    """The cell."""


class Debug(Record):
    """Ask the debugger about failing code; without arguments it looks at the last failed cell."""

    type: Literal["debug"] = "debug"
    code: str = ""
    """The failing code."""
    error: str = ""
    """Its error message."""


class Submit(Record):
    """Hand in the answer and end the episode: a literal value, or the name of a variable of the sandbox."""

    type: Literal["submit"] = "submit"
    answer: JsonValue = None
    """The answer itself; used when ``variable`` is empty or was never set."""
    variable: str = ""
    """A Python variable whose JSON value is the answer."""


class Invalid(Record):
    """A model message that is no permitted action; it costs a turn and is answered with the reason."""

    type: Literal["invalid"] = "invalid"
    reason: str
    """What was wrong with it, as told to the policy."""


Action = Annotated[
    RequestInfo | Terminal | ExecuteCode | Debug | Submit | Invalid,
    Field(discriminator="type"),
]
"""Any action."""


class Feedback(Record):
    """What the environment answers to an action."""

    text: str
    """What the policy reads, already truncated (head and tail kept, with a note between)."""
    status: Literal["ok", "error", "timeout", "memory", "crashed", "invalid", "submitted"] = "ok"
    """How the action ended."""
    error_type: str = ""
    """Exception class of failed code (``NameError``, ``sqlite3.OperationalError``)."""
    truncated_chars: int = 0
    """How many characters the truncation left out."""
