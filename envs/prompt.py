"""The messages before the first turn: what is shared comes first, so that a prefix cache serves all tasks of a source.

System: the protocol's instructions. Then, when asked for, a worked example as turns. Then the task: context, question.
"""

from collections.abc import Sequence
from typing import Any, Literal

from copilot.config import StrictModel
from copilot.envs.actions import Feedback
from copilot.envs.protocols.base import WireProtocol
from copilot.envs.task import Task, WorkedExample

Messages = list[dict[str, Any]]
"""Chat messages."""


class PromptConfig(StrictModel):
    """What a policy is told before its first turn."""

    brief: bool = False
    """One line of instructions, for models trained on the protocol."""
    context: bool = True
    """Whether the source's shared context (a schema) is shown."""
    examples: Literal[0, 1] = 0
    """Worked examples; base models are reported with one."""


def compose(task: Task, protocol: WireProtocol, config: PromptConfig, example: WorkedExample | None = None) -> Messages:
    """The messages before the first turn.

    Args:
        task: Only its public part is read.
        protocol: How actions are written.
        config: What to show.
        example: The source's worked example; used when ``config.examples`` is 1.
    """
    messages: Messages = [{"role": "system", "content": protocol.instructions(task.permitted, brief=config.brief)}]
    if config.examples and example is not None:
        messages += _example_turns(example, protocol)
    parts: Sequence[str] = (task.context, task.question) if config.context else (task.question,)
    messages.append({"role": "user", "content": "\n\n".join(part.strip() for part in parts if part.strip())})
    return messages


def _example_turns(example: WorkedExample, protocol: WireProtocol) -> Messages:
    messages: Messages = [{"role": "user", "content": example.question}]
    for action, feedback in example.steps:
        messages.append({"role": "assistant", "content": protocol.render(action)})
        if feedback:
            messages.append(protocol.feedback_message(Feedback(text=feedback)))
    return messages
