"""``markdown``: fenced code blocks, the form small models write best and the one with the fewest tokens.

The fence's language is the action: ``python``, ``bash``, ``submit``, ``info``, ``debug``. A submit block holds a bare
identifier (the variable), a JSON literal, or the word ``unanswerable``. A fence is as long as its content needs.
"""

import keyword
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import JsonValue

from copilot.envs.actions import Action, ActionName, Debug, ExecuteCode, Invalid, RequestInfo, Submit, Terminal
from copilot.envs.protocols.base import WireProtocol, drop_thoughts, first_valid, guard_thoughts
from copilot.envs.protocols.wire import decode, encode, from_parameters
from copilot.reward.answers import UNANSWERABLE

FENCES: dict[ActionName, str] = {
    ActionName.REQUEST_INFO: "info",
    ActionName.TERMINAL: "bash",
    ActionName.EXECUTE_CODE: "python",
    ActionName.DEBUG: "debug",
    ActionName.SUBMIT: "submit",
}
"""The fence language of each action."""

_LANGUAGES = {language: name for name, language in FENCES.items()} | {
    "py": ActionName.EXECUTE_CODE,
    "python3": ActionName.EXECUTE_CODE,
    "sh": ActionName.TERMINAL,
    "shell": ActionName.TERMINAL,
}
_OPEN = re.compile(r" {0,3}(`{3,})[ \t]*(\w*)[ \t\r]*")
_BACKTICKS = re.compile("`+")
_LITERAL_WORDS = {"true", "false", "null", UNANSWERABLE}
_PYTHON_WORDS = {"True": True, "False": False, "None": None}

_USES: dict[ActionName, str] = {
    ActionName.REQUEST_INFO: "look into the data: `column_names TABLE`, `column_values COLUMN TABLE` or `term TEXT`",
    ActionName.TERMINAL: "run a shell command",
    ActionName.EXECUTE_CODE: "run Python; variables persist; put the result in a variable named answer",
    ActionName.DEBUG: "have the last failed cell explained (empty block)",
    ActionName.SUBMIT: "finish: the name of the variable with the answer, or `unanswerable`",
}


class MarkdownProtocol(WireProtocol):
    """Fenced blocks."""

    name: ClassVar[str] = "markdown"

    def instructions(self, permitted: Sequence[ActionName], *, brief: bool = False) -> str:
        """See :meth:`WireProtocol.instructions`."""
        if brief:
            names = ", ".join(FENCES[name] for name in permitted)
            return f"Write one block per message ({names}); set answer, then submit answer or unanswerable."
        lines = "\n".join(f"```{FENCES[name]}  {_USES[name]}" for name in permitted)
        return (
            "You solve biomedical data questions by acting. Write exactly one fenced block per message; "
            f"its language is the action:\n{lines}\nExample of the last message:\n```submit\nanswer\n```"
        )

    def parse(self, text: str, permitted: Sequence[ActionName], *, cut: bool = False) -> Action:
        """See :meth:`WireProtocol.parse`; a last block without its closing fence counts unless the message was cut."""
        wanted = " or ".join(f"```{FENCES[name]}" for name in permitted)
        start = "the message was cut off; write a shorter" if cut else "no action found; write one"
        return first_valid(self._actions(drop_thoughts(text), cut), permitted, otherwise=f"{start} {wanted} block")

    def render(self, action: Action) -> str:
        """See :meth:`WireProtocol.render`."""
        body = _body(action)
        longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
        fence = "`" * max(3, longest + 1)
        language = FENCES[ActionName(action.type)]
        return guard_thoughts(f"{fence}{language}\n{body}\n{fence}" if body else f"{fence}{language}\n{fence}")

    @staticmethod
    def _actions(text: str, cut: bool) -> Iterator[Action]:
        for language, body, closed in _blocks(text):
            name = _LANGUAGES.get(language.lower())
            if name is not None and (closed or not cut):
                yield _action(name, body)


def _blocks(text: str) -> Iterator[tuple[str, str, bool]]:
    """Language, content and whether it was closed, of every fenced block."""
    lines = iter(text.split("\n"))
    for line in lines:
        opening = _OPEN.fullmatch(line)
        if opening is None:
            continue
        closing = re.compile(r" {0,3}`{" + str(len(opening[1])) + r",}[ \t\r]*")
        body: list[str] = []
        closed = False
        for inner in lines:
            closed = closing.fullmatch(inner) is not None
            if closed:
                break
            body.append(inner)
        yield opening[2], "\n".join(body), closed


def _body(action: Action) -> str:
    match action:
        case ExecuteCode():
            return action.code
        case Terminal():
            return action.cmd
        case Submit():
            return _submit_body(action)
        case RequestInfo():
            first, second = _info_order(action.info_type)
            words = [action.info_type, str(dict(action)[first]), str(dict(action)[second])]
            while not words[-1]:
                words.pop()
            return shlex.join(words)
        case Debug():
            given = {key: value for key, value in (("code", action.code), ("error", action.error)) if value}
            return encode(dict(given)) if given else ""
        case Invalid():
            raise ValueError("an invalid message has no wire form")


def _submit_body(action: Submit) -> str:
    if action.variable:
        return action.variable if _is_variable(action.variable) else f"variable {encode(action.variable)}"
    return UNANSWERABLE if action.answer == UNANSWERABLE else encode(action.answer)


def _action(name: ActionName, body: str) -> Action:
    match name:
        case ActionName.EXECUTE_CODE:
            return from_parameters(name, {"code": body})
        case ActionName.TERMINAL:
            return from_parameters(name, {"cmd": body})
        case ActionName.SUBMIT:
            return _submit(body.strip())
        case ActionName.REQUEST_INFO:
            return _info(body)
        case ActionName.DEBUG:
            return _debug(body.strip())


def _submit(body: str) -> Action:
    if not body or body == UNANSWERABLE:
        return from_parameters("submit", {"answer": UNANSWERABLE} if body else {})
    if _is_variable(body):
        return Submit(variable=body)
    if body in _PYTHON_WORDS:
        return Submit(answer=_PYTHON_WORDS[body])
    if body.startswith("variable "):
        return from_parameters("submit", {"variable": _literal(body.removeprefix("variable "))})
    value = _literal(body)
    if isinstance(value, str) and "\n" in body and value == body:
        return Invalid(reason="a submit block holds one variable name, a JSON value, or unanswerable")
    return from_parameters("submit", {"answer": value})


def _literal(body: str) -> JsonValue:
    """JSON where it is JSON, else the text itself (an unquoted date or name)."""
    try:
        return decode(body)
    except ValueError:
        return body


def _is_variable(body: str) -> bool:
    return body.isidentifier() and not keyword.iskeyword(body) and body not in _LITERAL_WORDS


def _info(body: str) -> Action:
    try:
        words = shlex.split(body)
    except ValueError as error:
        return Invalid(reason=f"info block: {error}")
    if not words or len(words) > 3:
        return Invalid(reason=f"info block: {_USES[ActionName.REQUEST_INFO]}")
    given = dict(zip(_info_order(words[0]), words[1:], strict=False))
    return from_parameters("request_info", {"info_type": words[0], **given})


def _info_order(info_type: str) -> tuple[str, str]:
    return ("data_path", "keyterm") if info_type == "column_names" else ("keyterm", "data_path")


def _debug(body: str) -> Action:
    value = _literal(body)
    return from_parameters("debug", value if isinstance(value, dict) else {"code": body})
