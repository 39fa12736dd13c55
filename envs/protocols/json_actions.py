"""``json``: the paper's protocol, one JSON object with the keys ``action`` and ``params`` per message.

Tolerated, as in the paper's release: a code fence or prose around the object, and thoughts before ``</think>``.
"""

from collections.abc import Sequence
from typing import ClassVar

from copilot.envs.actions import Action, ActionName
from copilot.envs.protocols.base import WireProtocol, drop_thoughts, first_valid, guard_thoughts
from copilot.envs.protocols.wire import PARAMETERS, PURPOSES, encode, from_parameters, objects, to_parameters


class JsonProtocol(WireProtocol):
    """``{"action": "execute_code", "params": {"code": "..."}}``."""

    name: ClassVar[str] = "json"

    def instructions(self, permitted: Sequence[ActionName], *, brief: bool = False) -> str:
        """See :meth:`WireProtocol.instructions`."""
        if brief:
            return f'Reply with one JSON object {{"action", "params"}}. Actions: {", ".join(permitted)}.'
        lines = "\n".join(f"- {self._example(name)}  {PURPOSES[name]}" for name in permitted)
        return (
            "You solve biomedical data questions by acting, one action per message. Reply with exactly one JSON object "
            f"with the keys action and params, and nothing else:\n{lines}\n"
            "Put the result in a Python variable named answer, look at it, then submit it."
        )

    def parse(self, text: str, permitted: Sequence[ActionName], *, cut: bool = False) -> Action:
        """See :meth:`WireProtocol.parse`; a cut object does not decode, so ``cut`` changes the reason only."""
        wanted = '{"action": ..., "params": {...}} with one of: ' + ", ".join(permitted)
        otherwise = "the message was cut off; write a shorter one: " if cut else "no action found; reply with "
        found = (
            from_parameters(item["action"], item.get("params", {}))
            for item in objects(drop_thoughts(text))
            if "action" in item
        )
        return first_valid(found, permitted, otherwise=otherwise + wanted)

    def render(self, action: Action) -> str:
        """See :meth:`WireProtocol.render`."""
        name, parameters = to_parameters(action)
        return guard_thoughts(encode({"action": name, "params": parameters}))

    @staticmethod
    def _example(name: ActionName) -> str:
        return encode({"action": name.value, "params": {key: f"<{text}>" for key, text in PARAMETERS[name].items()}})
