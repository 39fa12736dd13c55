"""The tokenizer of a model folder, and which tokens end a turn; both engines with token ids share them."""

from typing import TYPE_CHECKING

from copilot.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(model: str) -> "PreTrainedTokenizerBase":
    """The tokenizer of ``model`` with a chat template and an end-of-turn token.

    Raises:
        ModelError: It cannot be loaded, or lacks the template or the token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no tokenizer could be loaded: {error}", where=model, remedy="check the model folder"
        ) from error
    if tokenizer.chat_template is None:
        remedy = "use an instruct model, or put a chat_template.jinja into the folder"
        raise ModelError("the tokenizer has no chat template", where=model, remedy=remedy)
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no eos_token", where=model, remedy="set the end-of-turn token as eos_token")
    return tokenizer


def template_stop(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, int]:
    """The token with which the chat template ends a message: its text and id. Some base models name another as theirs.

    Raises:
        ModelError: Messages do not end with a token of their own.
    """
    mark = "\u00abmessage\u00bb"
    conversation = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    tail = str(tokenizer.apply_chat_template(conversation, tokenize=False)).partition(mark)[2]
    ids = [int(token) for token in tokenizer(tail, add_special_tokens=False)["input_ids"]]
    if not ids or ids[0] not in set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder):
        raise ModelError(
            f"the chat template ends a message with {tail[:20]!r}, not with a stop token",
            where=tokenizer.name_or_path,
            remedy="use an instruction-tuned model whose chat template closes every message with a token of its own",
        )
    return str(tokenizer.decode(ids[:1])), ids[0]


def stop_token_ids(tokenizer: "PreTrainedTokenizerBase", model: str) -> list[int]:
    """Ids that end a turn: the chat template's, the tokenizer's end token, and those of the generation config."""
    from transformers import GenerationConfig

    try:
        declared = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:  # a folder without generation_config.json
        declared = None
    more = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return list(dict.fromkeys([template_stop(tokenizer)[1], int(tokenizer.eos_token_id), *map(int, more)]))
