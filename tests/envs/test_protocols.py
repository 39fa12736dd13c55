"""The wire protocols, held to their law: what is rendered is read back, and nothing unpermitted gets through."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.envs.actions import (
    Action,
    ActionName,
    Debug,
    ExecuteCode,
    Feedback,
    Invalid,
    RequestInfo,
    Submit,
    Terminal,
)
from copilot.envs.protocols import get_protocol
from copilot.envs.protocols.tool_calls import ToolCallProtocol
from copilot.errors import RecipeError

EVERYTHING = tuple(ActionName)
NAMES = ("json", "tools", "markdown")
CODE_AND_SUBMIT = (ActionName.EXECUTE_CODE, ActionName.SUBMIT)

INFO = st.sampled_from(["column_names", "column_values", "term"])
ODD_WORDS = ["true", "null", "unanswerable", "None", "a b"]
PROSE = ["", "Let me see.\n", "I think {so}:\n", "hm</think>\n", "Plan: x = {1: 2}\n"]

text = st.text(max_size=60) | st.sampled_from(
    [
        "```",
        "```python\nx\n```",
        "</think>",
        "a\r\nb\n",
        '{"action": 1}',
        "<tool_call>{}</tool_call>",
        "`" * 7,
        "\n\n",
        "\x0c \u2028",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
words = st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True) | st.sampled_from(ODD_WORDS)
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(RequestInfo, data_path=text, info_type=INFO, keyterm=text),
    st.builds(Terminal, cmd=text),
    st.builds(ExecuteCode, code=text),
    st.builds(Debug, code=text, error=text),
    st.builds(Submit, answer=json_values),
    st.builds(Submit, variable=words),
)


@pytest.mark.parametrize("name", NAMES)
@given(
    action=actions,
    prose=st.sampled_from(PROSE),
)
def test_parse_inverts_render(name: str, action: Action, prose: str) -> None:
    protocol = get_protocol(name)
    assert protocol.parse(protocol.render(action), EVERYTHING) == action
    if "</think>" not in protocol.render(action):
        assert protocol.parse(prose + protocol.render(action) + "\nDone.", EVERYTHING) == action


@pytest.mark.parametrize("name", NAMES)
@given(message=text | st.text(alphabet='{}[]":,`\npythonsubmit<>/', max_size=200), cut=st.booleans())
def test_any_text_is_an_action_or_invalid(name: str, message: str, cut: bool) -> None:
    action = get_protocol(name).parse(message, CODE_AND_SUBMIT, cut=cut)
    assert isinstance(action, Invalid | ExecuteCode | Submit)


@pytest.mark.parametrize("name", NAMES)
def test_unpermitted_actions_are_refused_with_what_is_permitted(name: str) -> None:
    protocol = get_protocol(name)
    refused = protocol.parse(protocol.render(Terminal(cmd="ls")), CODE_AND_SUBMIT)
    assert isinstance(refused, Invalid)
    assert refused.reason == "terminal is not permitted here. Permitted: execute_code, submit."


@pytest.mark.parametrize("name", NAMES)
def test_the_first_valid_action_counts(name: str) -> None:
    protocol = get_protocol(name)
    shown = [Terminal(cmd="ls"), ExecuteCode(code="a = 1"), Submit(variable="a")]
    message = "\nthen\n".join(protocol.render(action) for action in shown)
    assert protocol.parse(message, CODE_AND_SUBMIT) == shown[1]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_nesting_and_numbers_are_invalid_not_errors(name: str) -> None:
    protocol = get_protocol(name)
    key, inner = ("action", "params") if name == "json" else ("name", "arguments")
    bodies = ["[" * 100_000, "1e999", "NaN", '"\\ud800"', "1" * 5000]
    for body in bodies:
        message = (
            f"```submit\n{body}\n```"
            if name == "markdown"
            else f'{{"{key}": "submit", "{inner}": {{"answer": {body}}}}}'
        )
        action = protocol.parse(message, EVERYTHING)
        if isinstance(action, Submit):  # markdown takes what is no JSON as text
            assert body in (action.answer, action.variable)
        else:
            assert isinstance(action, Invalid)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("answer", Submit(variable="answer")),
        ("df2", Submit(variable="df2")),
        ("12", Submit(answer=12)),
        ("-1.5", Submit(answer=-1.5)),
        ('"aspirin"', Submit(answer="aspirin")),
        ('[["a", 1], ["b", 2]]', Submit(answer=[["a", 1], ["b", 2]])),
        ("true", Submit(answer=True)),
        ("None", Submit(answer=None)),
        ("unanswerable", Submit(answer="unanswerable")),
        ("2100-12-31", Submit(answer="2100-12-31")),
        ("heart failure", Submit(answer="heart failure")),
        (" answer ", Submit(variable="answer")),
    ],
)
def test_markdown_submit_forms(body: str, expected: Submit) -> None:
    assert get_protocol("markdown").parse(f"```submit\n{body}\n```", EVERYTHING) == expected


@pytest.mark.parametrize("body", ["", "x = 1\nprint(x)"])
def test_markdown_submit_of_nothing_or_code_is_invalid(body: str) -> None:
    assert isinstance(get_protocol("markdown").parse(f"```submit\n{body}\n```", EVERYTHING), Invalid)


def test_markdown_takes_an_unclosed_last_block_unless_the_message_was_cut() -> None:
    protocol = get_protocol("markdown")
    assert protocol.parse("```python\nx = 1", EVERYTHING) == ExecuteCode(code="x = 1")
    cut = protocol.parse("```python\nx = 1", CODE_AND_SUBMIT, cut=True)
    assert isinstance(cut, Invalid)
    assert "cut off" in cut.reason
    assert protocol.parse("```python\nx = 1\n```\nand on", EVERYTHING, cut=True) == ExecuteCode(code="x = 1")


def test_markdown_info_and_debug_read_naturally() -> None:
    protocol = get_protocol("markdown")
    assert protocol.parse("```info\ncolumn_names admissions\n```", EVERYTHING) == RequestInfo(data_path="admissions")
    found = protocol.parse(f"```info\n{shlex.join(['term', 'heart failure'])}\n```", EVERYTHING)
    assert found == RequestInfo(info_type="term", keyterm="heart failure")
    assert protocol.parse("```debug\n```", EVERYTHING) == Debug()


def test_json_reads_the_papers_own_messages() -> None:
    message = '```json\n{"action": "validate_code", "params": {"code": "print(1)\nanswer = 1"}}\n```'
    assert get_protocol("json").parse(message, EVERYTHING) == ExecuteCode(code="print(1)\nanswer = 1")
    debug = {"action": "debug", "params": {"code": "x", "error_msg": "boom"}}
    assert get_protocol("json").parse(json.dumps(debug), EVERYTHING) == Debug(code="x", error="boom")


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"cod": "x"}, "execute_code has no parameter 'cod'; it has: code"),
        ({}, "execute_code: code: Field required"),
        ({"code": 3}, "execute_code: code: Input should be a valid string"),
        ("x", "parameters of execute_code must be an object with: code"),
    ],
)
def test_wrong_parameters_are_explained(params: object, reason: str) -> None:
    message = json.dumps({"action": "execute_code", "params": params})
    assert get_protocol("json").parse(message, EVERYTHING) == Invalid(reason=reason)


def test_tools_reads_llama_and_schema_like_calls() -> None:
    protocol = get_protocol("tools")
    assert protocol.parse('{"name": "execute_code", "parameters": {"code": "x"}}', EVERYTHING) == ExecuteCode(code="x")
    wrapped = '{"type": "function", "function": {"name": "submit", "arguments": {"answer": 3}}}'
    assert protocol.parse(wrapped, EVERYTHING) == Submit(answer=3)


def test_tools_states_its_schemas_exactly_once() -> None:
    native, plain = ToolCallProtocol(native=True), ToolCallProtocol()
    assert plain.tool_schemas(CODE_AND_SUBMIT) is None
    assert "<tools>" in plain.instructions(CODE_AND_SUBMIT)
    assert [tool["function"]["name"] for tool in native.tool_schemas(CODE_AND_SUBMIT) or []] == [
        "execute_code",
        "submit",
    ]
    assert "<tools>" not in native.instructions(CODE_AND_SUBMIT)
    assert native.feedback_message(Feedback(text="1")) == {"role": "tool", "content": "1"}
    assert plain.feedback_message(Feedback(text="1"))["role"] == "user"


@pytest.mark.parametrize("name", NAMES)
def test_instructions_name_what_is_permitted_and_nothing_else(name: str) -> None:
    protocol = get_protocol(name)
    word = {"json": "terminal", "tools": "terminal", "markdown": "```bash"}[name]
    for brief in (False, True):
        assert word not in protocol.instructions(CODE_AND_SUBMIT, brief=brief)
    assert word in protocol.instructions(EVERYTHING)
    # At under three characters a token this is at most 40 tokens, for any tokenizer in use.
    assert len(protocol.instructions(CODE_AND_SUBMIT, brief=True)) <= 110


def test_an_unknown_protocol_is_a_recipe_error() -> None:
    with pytest.raises(RecipeError, match="did you mean 'markdown'"):
        get_protocol("markdwon")
