"""From an episode's text to the token ids a verifier reads; the same for training and scoring.

What is shared comes first (instruction, then task), so that a prefix cache serves all attempts at a task. Invariant:
never longer than the context; what is cut are the earliest turns and the middle of a huge answer, never the instruction
or the task. Text from sandboxes cannot forge control tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copilot.data.transcript import Transcript
from copilot.errors import DataError, ModelError
from copilot.rollout.rendering import control_pattern, defuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INSTRUCTION = "An agent worked on a task. Judge from its work alone whether the answer it submitted is right."
QUESTION = "Is the submitted answer right? Reply YES or NO."
_CUT_NOTE = "[earlier turns left out]\n"
_MIDDLE_NOTE = " [...] "
_END_SHARE = 4
"""Of what does not fit, a submitted answer may take one part in so many."""
_MARK = "\u00abtranscript\u00bb"


@dataclass(frozen=True)
class Encoded:
    """A verifier's input."""

    ids: list[int]
    """Token ids, up to where the verdict would begin."""
    cut_tokens: int
    """Tokens that did not fit; 0: it is whole."""
    shared: int
    """Tokens that all attempts at the task begin with: instruction and task."""


class Encoder:
    """Renders transcripts in a verifier's tokens.

    Args:
        tokenizer: With a chat template.
        max_tokens: Longest input.

    Raises:
        ModelError: YES and NO begin with the same token.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> None:
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self._control = control_pattern(tokenizer)
        rendered = str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": _MARK}], tokenize=False, add_generation_prompt=True
            )
        )
        before, _, after = rendered.partition(_MARK)
        self._before = self._ids(f"{before}{INSTRUCTION}\n\nTask: ")
        self._after = self._ids(f"\n{QUESTION}{after}")
        self._note, self._middle = self._ids(_CUT_NOTE), self._ids(_MIDDLE_NOTE)
        self.yes_id, self.no_id = self._ids("YES")[0], self._ids("NO")[0]
        if self.yes_id == self.no_id:
            raise ModelError(
                "YES and NO begin with the same token",
                where=tokenizer.name_or_path,
                remedy="train the scalar head with another tokenizer",
            )

    def encode(self, seen: Transcript) -> Encoded:
        """The ids of one transcript.

        Raises:
            DataError: Instruction and task alone are too long.
        """
        head = [*self._before, *self._text(f"{seen.task}\n\n")]
        end = self._text(seen.end)
        body = [token for turn in seen.turns for token in self._text(turn)]
        whole = [*head, *body, *end, *self._after]
        if len(whole) <= self.max_tokens:
            return Encoded(whole, 0, len(head))
        tail = [*self._shortened(end), *self._after]
        room = self.max_tokens - len(head) - len(tail)
        if len(body) <= room:
            return Encoded([*head, *body, *tail], len(whole) - len(head) - len(body) - len(tail), len(head))
        kept = room - len(self._note)
        if kept < 0:
            raise DataError(
                f"the task alone takes {len(head) + len(tail)} of {self.max_tokens} tokens",
                remedy="raise the verifier's max_tokens",
            )
        ids = [*head, *self._note, *body[len(body) - kept :], *tail]
        return Encoded(ids, len(whole) - len(ids) + len(self._note), len(head))

    def encode_all(self, transcripts: Sequence[Transcript]) -> list[Encoded]:
        """The ids of many.

        Raises:
            DataError: Some do not fit even without turns; with counts.
        """
        encoded, refused, longest = list[Encoded](), 0, 0
        for seen in transcripts:
            try:
                encoded.append(self.encode(seen))
            except DataError:
                # Counted below, so that one message speaks for all of them.
                refused, longest = refused + 1, max(longest, len(self._text(seen.task)))
        if refused:
            raise DataError(
                f"{refused} of {len(transcripts)} trajectories do not fit {self.max_tokens} tokens even without "
                f"their turns (longest task: {longest} tokens)",
                remedy="raise the verifier's max_tokens (verifier.max_tokens in training), or leave these tasks out",
            )
        return encoded

    def _shortened(self, end: list[int]) -> list[int]:
        """An end without its middle, where it is huge."""
        half = max(1, (self.max_tokens // _END_SHARE - len(self._middle)) // 2)
        return [*end[:half], *self._middle, *end[-half:]] if len(end) > 2 * half + len(self._middle) else end

    def _text(self, text: str) -> list[int]:
        """Ids of text from outside."""
        return self._ids(defuse(text, self._control))

    def _ids(self, text: str) -> list[int]:
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]
