"""From chat messages to token ids, without ever tokenising a sampled message again.

Decision: the first prompt goes through the chat template once; what the environment says later is rendered by template
difference, as the text between a message's stop token and the next message's start. Invariant, checked at start: the
prompt, the messages, their stop tokens and these differences concatenate to exactly what the template renders for
the whole conversation. Text from sandboxes and questions cannot forge control tokens.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jinja2

from copilot.envs.actions import ActionName, Feedback
from copilot.envs.prompt import Messages
from copilot.envs.protocols.base import WireProtocol
from copilot.envs.protocols.tool_calls import ToolCallProtocol
from copilot.errors import ModelError
from copilot.policy.tokens import template_stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = "\u00abmessage\u00bb"
_REMEDY = "use an instruction-tuned model whose chat template leaves earlier messages unchanged, or another protocol"


class Renderer:
    """Renders one model's conversations under one protocol.

    Args:
        tokenizer: With a chat template.
        protocol: The wire protocol; see :attr:`protocol` for the one to use with this model.

    Raises:
        ModelError: No chat template, one that rewrites earlier messages, or no known stop token.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", protocol: WireProtocol) -> None:
        self.tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise ModelError("the tokenizer has no chat template", where=tokenizer.name_or_path, remedy=_REMEDY)
        self._takes_system = self._accepts_system()
        self.protocol = ToolCallProtocol(native=self._takes_tools()) if protocol.name == "tools" else protocol
        """The protocol, with tool calls in the model's own form where its template has one."""
        self._control = control_pattern(tokenizer)
        self._stop_text, self.stop_id = template_stop(tokenizer)
        self._check()

    def prompt_ids(self, messages: Messages, permitted: Sequence[ActionName] = ()) -> list[int]:
        """Ids of a conversation up to where the policy's next message begins."""
        text = self._template(self._clean(messages), self.protocol.tool_schemas(permitted), generate=True)
        return self._encode(text)

    def feedback_ids(self, message: dict[str, Any]) -> list[int]:
        """Ids between a message's stop token and the policy's next message, for the environment's ``message``."""
        return self._encode(self._suffix(self._clean([message])[0]))

    def encode_assistant(self, text: str) -> list[int]:
        """Ids of a message that was not sampled (a teacher's), stop token included."""
        return [*self._encode(text), self.stop_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, control tokens included."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)

    def _encode(self, text: str) -> list[int]:
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _clean(self, messages: Messages) -> Messages:
        """Messages with control tokens in their text broken up, and a system message merged where none is taken."""
        cleaned = [message | {"content": defuse(message["content"], self._control)} for message in messages]
        if self._takes_system or cleaned[0]["role"] != "system":
            return cleaned
        system, first, *rest = cleaned
        return [first | {"content": f"{system['content']}\n\n{first['content']}"}, *rest]

    def _template(self, messages: Messages, tools: list[Any] | None, *, generate: bool) -> str:
        rendered = self.tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=generate, tokenize=False
        )
        return str(rendered)

    def _suffix(self, message: dict[str, Any]) -> str:
        """What the template puts between the stop token of a message and the start of the one after ``message``."""
        before = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        tools = self.protocol.tool_schemas(tuple(ActionName))
        text = self._template([*before, message], tools, generate=True)
        return text.partition(_MARK)[2].removeprefix(self._stop_text)

    def _accepts_system(self) -> bool:
        probe = [{"role": "system", "content": "s"}, {"role": "user", "content": "?"}]
        try:
            self._template(probe, None, generate=True)
        except jinja2.TemplateError:
            # Some templates (Gemma's) refuse the role.
            return False
        return True

    def _takes_tools(self) -> bool:
        """Whether schemas handed to the template show up in what it renders, and it has a form for tool answers."""
        schemas = ToolCallProtocol(native=True).tool_schemas([ActionName.EXECUTE_CODE])
        messages = [{"role": "user", "content": "?"}]
        answer = [{"role": "assistant", "content": _MARK}, {"role": "tool", "content": _MARK}]
        try:
            with_tools = self._template(messages, schemas, generate=True)
            answered = self._template(messages + answer, schemas, generate=True)
        except (jinja2.TemplateError, TypeError, KeyError):
            # Templates written for other tool forms stop on ours.
            return False
        return ActionName.EXECUTE_CODE in with_tools and answered.count(_MARK) == 2

    def _check(self) -> None:
        """The invariant of this module, on a conversation of two turns."""
        feedback = self.protocol.feedback_message(Feedback(text="3 rows"))
        said = ["```python\nx = 1\n```", "```submit\nx\n```"]
        start = self._clean([{"role": "system", "content": "Act."}, {"role": "user", "content": "How many?"}])
        turns = [turn for text in said for turn in ({"role": "assistant", "content": text}, feedback)]
        tools = self.protocol.tool_schemas(tuple(ActionName))
        whole = self._template([*start, *turns], tools, generate=True)
        ids = self.prompt_ids(start, tuple(ActionName))
        for text in said:
            ids += self.encode_assistant(text) + self.feedback_ids(feedback)
        if self.decode(ids) != whole:
            raise ModelError(
                f"the chat template rewrites earlier messages under protocol {self.protocol.name!r}",
                where=self.tokenizer.name_or_path,
                remedy=_REMEDY,
            )


def defuse(text: str, control: re.Pattern[str]) -> str:
    """``text`` with every control token in it broken up, so that it cannot end a message."""
    return control.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", text)


def control_pattern(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern[str]:
    """Matches the text of every control token, longest first."""
    controls = {str(token) for token in tokenizer.all_special_tokens}
    controls |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return re.compile("|".join(map(re.escape, sorted(filter(None, controls), key=len, reverse=True))) or r"(?!)")
