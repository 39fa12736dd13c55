"""``tools``: function calls in the form the model was trained on.

Messages carry ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>`` (Hermes, Qwen); Llama's bare object with
``parameters`` is read too. Where the chat template takes ``tools=``, it writes the schemas and the environment answers
in the role ``tool`` (``native``); elsewhere the schemas stand in the system message and answers come from the user.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import JsonValue

from copilot.envs.actions import Action, ActionName, Feedback
from copilot.envs.protocols.base import WireProtocol, drop_thoughts, first_valid, guard_thoughts
from copilot.envs.protocols.wire import encode, from_parameters, objects, schema, to_parameters


class ToolCallProtocol(WireProtocol):
    """Tool calls.

    Args:
        native: Whether the model's chat template renders tool schemas and the role ``tool`` itself.
    """

    name: ClassVar[str] = "tools"

    def __init__(self, *, native: bool = False) -> None:
        self.native = native
        self.feedback_role = "tool" if native else "user"

    def instructions(self, permitted: Sequence[ActionName], *, brief: bool = False) -> str:
        """See :meth:`WireProtocol.instructions`."""
        if brief:
            return f"Call one tool per message. Tools: {', '.join(permitted)}."
        text = (
            "You solve biomedical data questions by calling tools, one call per message. "
            "Put the result in a Python variable named answer, look at it, then submit it."
        )
        return text if self.native else f"{text}\n\n{self._hermes(permitted)}"

    def parse(self, text: str, permitted: Sequence[ActionName], *, cut: bool = False) -> Action:
        """See :meth:`WireProtocol.parse`; a cut call does not decode, so ``cut`` changes the reason only."""
        wanted = f"one of the tools: {', '.join(permitted)}"
        otherwise = "the message was cut off; write a shorter call of " if cut else "no tool call found; call "
        found = (from_parameters(name, arguments) for name, arguments in self._calls(drop_thoughts(text)))
        return first_valid(found, permitted, otherwise=otherwise + wanted)

    def render(self, action: Action) -> str:
        """See :meth:`WireProtocol.render`."""
        name, parameters = to_parameters(action)
        return guard_thoughts(f"<tool_call>\n{encode({'name': name, 'arguments': parameters})}\n</tool_call>")

    def feedback_message(self, feedback: Feedback) -> dict[str, Any]:
        """See :meth:`WireProtocol.feedback_message`; without a native template the Hermes tags are written here."""
        content = feedback.text if self.native else f"<tool_response>\n{feedback.text}\n</tool_response>"
        return {"role": self.feedback_role, "content": content}

    def tool_schemas(self, permitted: Sequence[ActionName]) -> list[dict[str, Any]] | None:
        """See :meth:`WireProtocol.tool_schemas`."""
        return [schema(name) for name in permitted] if self.native else None

    @staticmethod
    def _calls(text: str) -> Iterator[tuple[JsonValue, JsonValue]]:
        for item in objects(text):
            call = _unwrap(item)
            if "name" in call:
                yield call["name"], call.get("arguments", call.get("parameters", {}))

    @staticmethod
    def _hermes(permitted: Sequence[ActionName]) -> str:
        schemas = "\n".join(encode(schema(name)) for name in permitted)
        return (
            f"# Tools\n<tools>\n{schemas}\n</tools>\n\nFor each call write a JSON object inside tool_call tags:\n"
            '<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call>'
        )


def _unwrap(item: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The call itself, where a model wrapped it like its schema: ``{"type": "function", "function": {...}}``."""
    inner = item.get("function")
    return inner if isinstance(inner, dict) else item
