"""The contract of a wire protocol: how typed actions look in a model's messages.

Protocols are pure: text to action, action to text. ``parse(render(action)) == action`` for every permitted action
(a property test holds every protocol to it). The first valid action of a message counts; what a model thought before
``</think>`` never does.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from copilot.envs.actions import Action, ActionName, Feedback, Invalid
from copilot.errors import RecipeError, did_you_mean

ProtocolName = Literal["json", "tools", "markdown"]
"""Names a recipe may use."""

THOUGHT_END = "</think>"
"""Reasoning models close their thoughts with it; some templates open them in the prompt, so the opening is optional."""


class WireProtocol(ABC):
    """Typed actions in a model's own words."""

    name: ClassVar[str]
    feedback_role: str = "user"
    """Chat role of the environment's messages."""

    @abstractmethod
    def instructions(self, permitted: Sequence[ActionName], *, brief: bool = False) -> str:
        """The system message: what may be done, and how to write it. ``brief`` is for models trained on it."""

    @abstractmethod
    def parse(self, text: str, permitted: Sequence[ActionName], *, cut: bool = False) -> Action:
        """Read a model message.

        Args:
            text: The message as decoded.
            permitted: Actions the task allows.
            cut: Whether the message ran into the token limit; an action that its end may belong to is then refused.

        Returns:
            The first valid action, or :class:`~copilot.envs.actions.Invalid` with a helpful reason.
        """

    @abstractmethod
    def render(self, action: Action) -> str:
        """Write an action as a model would: for the reference teacher and worked examples."""

    def feedback_message(self, feedback: Feedback) -> dict[str, Any]:
        """The chat message that carries the environment's answer."""
        return {"role": self.feedback_role, "content": feedback.text}

    def tool_schemas(self, permitted: Sequence[ActionName]) -> list[dict[str, Any]] | None:
        """JSON schemas handed to the model's chat template, or ``None`` for protocols that do not use it."""
        return None


def drop_thoughts(text: str) -> str:
    """What follows the first ``</think>``, or the whole text."""
    head, end, tail = text.partition(THOUGHT_END)
    return tail if end else head


def guard_thoughts(message: str) -> str:
    """``message``, readable by :func:`drop_thoughts` even when the action itself contains ``</think>``."""
    return f"{THOUGHT_END}\n{message}" if THOUGHT_END in message else message


def first_valid(candidates: Iterable[Action], permitted: Sequence[ActionName], *, otherwise: str) -> Action:
    """The first permitted action; else the first reason why a candidate was none.

    Args:
        candidates: Actions in the order of the message, :class:`Invalid` for what looked like one.
        permitted: Actions the task allows.
        otherwise: The reason when there is no candidate at all.
    """
    reasons: list[str] = []
    for action in candidates:
        if isinstance(action, Invalid):
            reasons.append(action.reason)
        elif action.type not in permitted:
            reasons.append(f"{action.type} is not permitted here. Permitted: {', '.join(permitted)}.")
        else:
            return action
    return Invalid(reason=reasons[0] if reasons else otherwise)


def get_protocol(name: str) -> WireProtocol:
    """The protocol called ``name`` (``json``, ``tools``, ``markdown``)."""
    from copilot.envs.protocols.json_actions import JsonProtocol
    from copilot.envs.protocols.markdown import MarkdownProtocol
    from copilot.envs.protocols.tool_calls import ToolCallProtocol

    protocols: dict[str, type[WireProtocol]] = {p.name: p for p in (JsonProtocol, ToolCallProtocol, MarkdownProtocol)}
    if name not in protocols:
        raise RecipeError(f"no protocol {name!r}", remedy=did_you_mean(name, protocols))
    return protocols[name]()
