"""What the JSON-carried protocols share: finding objects in prose, and actions as named parameters.

Objects are found by decoding at every brace, so code fences, prose and special tags around them need no rules of
their own. Whatever comes out is finite, encodable JSON: everything else is refused here, once.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from copilot.envs.actions import Action, ActionName, Invalid, Submit

Parameters = dict[str, JsonValue]

ALIASES = {"validate_code": "execute_code", "code_execution": "execute_code"}
"""Names of ``execute_code`` in the paper's release and text, which published checkpoints use."""

PARAMETERS: dict[ActionName, dict[str, str]] = {
    ActionName.REQUEST_INFO: {
        "data_path": "file or table; empty: all",
        "info_type": "column_names, column_values or term",
        "keyterm": "the column (column_values) or the text to find (term)",
    },
    ActionName.TERMINAL: {"cmd": "shell command"},
    ActionName.EXECUTE_CODE: {"code": "Python; variables persist between calls"},
    ActionName.DEBUG: {"code": "the failing code; empty: the last cell", "error_msg": "its error"},
    ActionName.SUBMIT: {"variable": "name of the variable that holds the answer", "answer": "or the answer itself"},
}
"""Parameters of each action, with what they mean."""

PURPOSES: dict[ActionName, str] = {
    ActionName.REQUEST_INFO: "Look up column names, column values or a term in the data files.",
    ActionName.TERMINAL: "Run a shell command.",
    ActionName.EXECUTE_CODE: "Run Python and read its output.",
    ActionName.DEBUG: "Have a failed cell explained.",
    ActionName.SUBMIT: 'Hand in the answer and finish; answer "unanswerable" if the data cannot answer the question.',
}
"""What each action is for."""

_ACTION: TypeAdapter[Action] = TypeAdapter(Action)
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda name: _refuse(name))


def _refuse(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


def decode(text: str) -> JsonValue:
    """``text`` as one JSON value.

    Raises:
        ValueError: It is none, is nested too deeply, or holds what JSON cannot carry (NaN, infinities, surrogates).
    """
    try:
        value: JsonValue = _DECODER.decode(text)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def encode(value: JsonValue) -> str:
    """``value`` as compact, readable JSON."""
    return json.dumps(value, ensure_ascii=False)


def objects(text: str) -> Iterator[Mapping[str, JsonValue]]:
    """The outermost JSON objects in ``text``, in order; braces that open none are skipped."""
    start = text.find("{")
    while start >= 0:
        end = start + 1
        try:
            _, end = _DECODER.raw_decode(text, start)
            value = decode(text[start:end])
        except (ValueError, RecursionError):
            # A brace of prose or code; the next one may open an object.
            value = None
        if isinstance(value, dict):
            yield value
        start = text.find("{", end)


def to_parameters(action: Action) -> tuple[str, Parameters]:
    """An action's name and parameters, without those that are empty."""
    if isinstance(action, Submit):
        return action.type, {"variable": action.variable} if action.variable else {"answer": action.answer}
    dumped: Parameters = {name: value for name, value in action.model_dump(exclude={"type"}).items() if value}
    if "error" in dumped:
        dumped["error_msg"] = dumped.pop("error")
    for name in required(ActionName(action.type)):
        dumped.setdefault(name, "")
    return action.type, dumped


def required(name: ActionName) -> list[str]:
    """Parameters without which the action makes no sense."""
    return {ActionName.TERMINAL: ["cmd"], ActionName.EXECUTE_CODE: ["code"]}.get(name, [])


def from_parameters(name: JsonValue, parameters: JsonValue) -> Action:
    """The action of that name and those parameters; :class:`Invalid` says what is wrong with them."""
    known = ALIASES.get(str(name), str(name))
    if known not in PARAMETERS:
        return Invalid(reason=f"unknown action {str(name)[:40]!r}")
    names = PARAMETERS[ActionName(known)]
    if not isinstance(parameters, dict):
        return Invalid(reason=f"parameters of {known} must be an object with: {', '.join(names)}")
    given = {("error_msg" if key == "error" else key): value for key, value in parameters.items()}
    unknown = sorted(set(given) - set(names))
    if unknown:
        return Invalid(reason=f"{known} has no parameter {unknown[0][:40]!r}; it has: {', '.join(names)}")
    if known == ActionName.SUBMIT and not given:
        return Invalid(reason="submit needs a variable or an answer")
    if "error_msg" in given:
        given["error"] = given.pop("error_msg")
    try:
        return _ACTION.validate_python({"type": known, **given})
    except ValidationError as error:
        fault = error.errors()[0]
        return Invalid(reason=f"{known}: {fault['loc'][-1]}: {fault['msg']}")


def schema(name: ActionName) -> dict[str, Any]:
    """The action as an OpenAI-style tool schema."""
    properties: dict[str, Any] = {
        key: {"type": "string", "description": text} for key, text in PARAMETERS[name].items()
    }
    if name is ActionName.SUBMIT:
        properties["answer"] = {"description": PARAMETERS[name]["answer"]}
    if name is ActionName.REQUEST_INFO:
        properties["info_type"]["enum"] = ["column_names", "column_values", "term"]
    parameters = {"type": "object", "properties": properties, "required": required(name)}
    return {
        "type": "function",
        "function": {"name": name.value, "description": PURPOSES[name], "parameters": parameters},
    }
