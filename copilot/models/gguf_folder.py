"""Turns a GGUF file into a standard transformers folder: safetensors, tokenizer with its chat template, provenance.

Weights are dequantised and stored in bfloat16, so that a trainer in float32 and a server in bfloat16 hold exactly
the same numbers. The tokenizer is rebuilt from the file's vocabulary and merges with the pre-tokenizer its release
declares; the generic conversion loses it, and with it how digits are cut.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from copilot.errors import ModelError
from copilot.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTROL, _USER_DEFINED = 3, 4


def convert_gguf(source: Path, folder: Path, *, pre_tokenizer: str) -> None:
    """Write ``source`` as a transformers model folder.

    Args:
        source: The GGUF file.
        folder: An existing folder.
        pre_tokenizer: ``smollm`` or ``qwen2``.

    Raises:
        ModelError: The file declares another pre-tokenizer, or has an architecture transformers cannot read.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    tokenizer = gguf_tokenizer(source, pre_tokenizer=pre_tokenizer)
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
    # GGUF repeats the tied matrix; untied, 494M parameters would become 630M.
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.config.bos_token_id = model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = model.config.max_position_embeddings
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def gguf_tokenizer(source: Path, *, pre_tokenizer: str) -> "PreTrainedTokenizerBase":
    """The byte-level BPE tokenizer a GGUF file describes, with its chat template.

    Raises:
        ModelError: The file declares another pre-tokenizer than ``pre_tokenizer``.
    """
    from gguf import GGUFReader
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(str(source)).fields
    declared = fields["tokenizer.ggml.pre"].contents()
    if declared != pre_tokenizer:
        raise ModelError(f"the file's pre-tokenizer is {declared!r}, not {pre_tokenizer!r}", where=source)
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
    merges: list[str] = fields["tokenizer.ggml.merges"].contents()
    inner = _byte_level_bpe(tokens, merges, pre_tokenizer)
    inner.add_special_tokens([t for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL])
    inner.add_tokens([t for t, kind in zip(tokens, kinds, strict=True) if kind == _USER_DEFINED])
    settings: dict[str, Any] = {
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"].contents()],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"].contents()],
        "pad_token": tokens[fields["tokenizer.ggml.padding_token_id"].contents()],
    }
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **settings)
    tokenizer.chat_template = fields["tokenizer.chat_template"].contents()
    return tokenizer


def _byte_level_bpe(tokens: list[str], merges: list[str], kind: str) -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [(left, right) for left, right in (merge.split(" ", 1) for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, fuse_unk=False, byte_fallback=False))
    if kind == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, whole])
    elif kind == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(_QWEN2_SPLIT), behavior="isolated")
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, whole])
    else:
        raise ModelError(f"no pre-tokenizer {kind!r} is known", remedy="add it beside 'smollm' and 'qwen2'")
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
