"""The tiny model: the same bytes each time, a tokenizer that loses nothing, a template whose prefixes hold."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from copilot.models.tiny import VOCABULARY, make_tiny, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    one, again, other = (digests(make_tiny(tmp_path / n, seed=s)) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert one == again
    assert {name for name in one if one[name] != other[name]} == {"model.safetensors"}


def test_transformers_loads_it_and_every_id_has_a_text(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.num_parameters() < 1_000_000
    assert model.config.vocab_size == len(tokenizer) == VOCABULARY
    assert all(tokenizer.convert_ids_to_tokens(i) is not None for i in range(VOCABULARY))
    assert tokenizer.eos_token == "<|im_end|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_no_text_is_lost(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
CHATS = st.lists(st.tuples(ROLES, st.text("ab <|>\n{}", max_size=12)), min_size=2, max_size=6)


@given(chat=CHATS, cut=st.integers(1, 5), tools=st.sampled_from([None, [{"name": "execute_code"}]]))
@settings(max_examples=200, deadline=None)
def test_a_longer_conversation_extends_a_shorter_one(
    chat: list[tuple[str, str]], cut: int, tools: list[dict[str, str]] | None
) -> None:
    messages = [{"role": role, "content": content} for role, content in chat]
    shorter = TOKENIZER.apply_chat_template(messages[:cut], tools=tools)["input_ids"]
    assert TOKENIZER.apply_chat_template(messages, tools=tools)["input_ids"][: len(shorter)] == shorter


def test_the_template_is_chatml() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
    with_tools = TOKENIZER.apply_chat_template(messages, tokenize=False, tools=[{"name": "submit"}])
    assert with_tools.count("<|im_start|>system") == 1
    assert '{"name": "submit"}' in with_tools


@pytest.mark.parametrize("text", ["SELECT", " FROM", " answer", "import"])
def test_common_words_are_short(text: str) -> None:
    assert len(TOKENIZER(text)["input_ids"]) <= 2
