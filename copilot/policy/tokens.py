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


def stop_token_ids(tokenizer: "PreTrainedTokenizerBase", model: str) -> list[int]:
    """Ids that end a turn: the tokenizer's end token first, then those of the model's generation config."""
    from transformers import GenerationConfig

    try:
        declared = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:  # a folder without generation_config.json
        declared = None
    more = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return list(dict.fromkeys([int(tokenizer.eos_token_id), *map(int, more)]))
