"""The contract of a wire protocol: how typed actions look in a model's messages.

Protocols are pure: text to action, action to text. ``parse(render(action)) == action`` for every permitted action
(a property test holds every protocol to it).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from copilot.envs.actions import Action, ActionName, Feedback
from copilot.errors import RecipeError, did_you_mean

ProtocolName = Literal["json", "tools", "markdown"]
"""Names a recipe may use."""


class WireProtocol(ABC):
    """Typed actions in a model's own words."""

    name: ClassVar[str]
    feedback_role: ClassVar[str] = "user"
    """Chat role of the environment's messages."""

    @abstractmethod
    def instructions(self, permitted: Sequence[ActionName], *, brief: bool = False) -> str:
        """The system message: what may be done, and how to write it. ``brief`` is for models trained on it."""

    @abstractmethod
    def parse(self, text: str, permitted: Sequence[ActionName]) -> Action:
        """Read a model message; :class:`~copilot.envs.actions.Invalid` with a helpful reason when it is none."""

    @abstractmethod
    def render(self, action: Action) -> str:
        """Write an action as a model would: for the reference teacher and worked examples."""

    def feedback_message(self, feedback: Feedback) -> dict[str, Any]:
        """The chat message that carries the environment's answer."""
        return {"role": self.feedback_role, "content": feedback.text}

    def tool_schemas(self, permitted: Sequence[ActionName]) -> list[dict[str, Any]] | None:
        """JSON schemas handed to the model's chat template, or ``None`` for protocols that do not use it."""
        return None


def get_protocol(name: str) -> WireProtocol:
    """The protocol called ``name`` (``json``, ``tools``, ``markdown``)."""
    from copilot.envs.protocols.json_actions import JsonProtocol
    from copilot.envs.protocols.markdown import MarkdownProtocol
    from copilot.envs.protocols.tool_calls import ToolCallProtocol

    protocols: dict[str, type[WireProtocol]] = {
        p.name: p for p in (JsonProtocol, ToolCallProtocol, MarkdownProtocol)
    }
    if name not in protocols:
        raise RecipeError(f"no protocol {name!r}", remedy=did_you_mean(name, protocols))
    return protocols[name]()
