"""The environment on a real sandbox: actions, feedback, both success rates, and what is not let through."""

import asyncio
import csv
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from copilot.envs.actions import Action, ActionName, Debug, ExecuteCode, Invalid, RequestInfo, Submit, Terminal
from copilot.envs.environment import MedAgentEnv, StepResult
from copilot.envs.prompt import PromptConfig, compose
from copilot.envs.protocols import get_protocol
from copilot.envs.sandboxes.base import SandboxBackend, SandboxConfig, SandboxLimits, make_backend
from copilot.envs.sources.base import Source
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.reward.answers import Answer, IntegerAnswer, UnanswerableAnswer

EXAMPLE = WorkedExample(
    question="How many drugs are there?",
    steps=((ExecuteCode(code="answer = 7\nprint(answer)"), "7"), (Submit(variable="answer"), "")),
)


class Ward(Source):
    """Two patients, once as CSV and once as SQLite."""

    name: ClassVar[str] = "ward"
    title: ClassVar[str] = "A ward"
    licence: ClassVar[str] = "Apache-2.0"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = [("subject_id", "gender", "drug"), (1, "F", "aspirin"), (2, "M", "warfarin")]
        with open(folder / "patients.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows)
        link = sqlite3.connect(folder / "ward.db")
        link.execute("CREATE TABLE visits (subject_id INT, diagnosis TEXT)")
        link.executemany("INSERT INTO visits VALUES (?, ?)", [(1, "heart failure"), (2, "sepsis")])
        link.commit()
        link.close()

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        yield from ()

    def files(self, task: Task) -> dict[str, Path]:
        return {name: self.folder / name for name in ("patients.csv", "ward.db")}

    def preamble(self, task: Task) -> str:
        return "FROM_PREAMBLE = 41"

    def worked_example(self) -> WorkedExample:
        return EXAMPLE


def a_task(answer: Answer | None = None, permitted: tuple[ActionName, ...] = tuple(ActionName)) -> Task:
    return Task(
        id="ward/test/1",
        source="ward",
        split="test",
        question="How many patients are there?",
        context="Table patients.",
        permitted=permitted,
        reference=Reference(answer=answer or IntegerAnswer(value=2)),
    )


Scenario = Callable[[MedAgentEnv], Coroutine[Any, Any, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, SandboxBackend, Ward]]:
    """One event loop, one started backend, one source for all tests here; sandboxes are opened per episode."""
    limits = SandboxLimits(cell_seconds=3)
    backend = make_backend(SandboxConfig(type="local", require="none", limits=limits))
    with asyncio.Runner() as runner:
        runner.run(backend.start())
        yield runner, backend, Ward(tmp_path_factory.mktemp("ward"))
        runner.run(backend.close())


@pytest.fixture
def in_env(world: tuple[asyncio.Runner, SandboxBackend, Ward]) -> Callable[..., Any]:
    """Runs a scenario in a fresh environment on the local sandbox."""
    runner, backend, source = world

    def run(scenario: Scenario, task: Task | None = None, **options: Any) -> Any:
        async def inside() -> Any:
            env = MedAgentEnv(task or a_task(), source, backend, get_protocol("json"), **options)
            try:
                await env.reset(seed=1)
                return await scenario(env)
            finally:
                await env.close()

        return runner.run(inside())

    return run


async def act(env: MedAgentEnv, action: Action) -> StepResult:
    return await env.step(get_protocol("json").render(action))


def test_code_feedback_shows_output_or_the_answer_or_that_there_is_none(in_env: Callable[..., Any]) -> None:
    cells = ["print(FROM_PREAMBLE + 1)", "answer = 12", "x = 1", "del answer", "1 + 1"]

    async def scenario(env: MedAgentEnv) -> list[str]:
        return [(await act(env, ExecuteCode(code=code))).feedback.text for code in cells]

    assert in_env(scenario) == ["42", "answer = 12", "answer = 12", "(no output)", "2"]


def test_errors_are_named_with_their_line(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> StepResult:
        return await act(env, ExecuteCode(code="x = 1\nprint('a')\ny = undefined + 1"))

    step = in_env(scenario)
    assert step.feedback.text == "a\nNameError: name 'undefined' is not defined\nline 3: y = undefined + 1"
    assert (step.feedback.status, step.feedback.error_type) == ("error", "NameError")
    assert step.attempt_correct is None
    assert not step.done


def test_submitting_a_variable_ends_the_episode(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> tuple[StepResult, StepResult, MedAgentEnv]:
        tried = await act(env, ExecuteCode(code="answer = 2"))
        return tried, await act(env, Submit(variable="answer")), env

    tried, step, env = in_env(scenario)
    assert (tried.attempt_correct, tried.done) == (True, False)
    assert (step.attempt_correct, step.done, step.feedback.status) == (True, True, "submitted")
    assert env.outcome.submitted_correct
    assert env.outcome.any_attempt_correct
    assert env.outcome.answer == 2


def test_any_attempt_and_submitted_differ_when_a_right_answer_is_given_up(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> tuple[list[StepResult], MedAgentEnv]:
        actions = [ExecuteCode(code="answer = 2"), ExecuteCode(code="answer = 3"), Submit(variable="answer")]
        return [await act(env, action) for action in actions], env

    steps, env = in_env(scenario)
    assert [step.attempt_correct for step in steps] == [True, False, False]
    assert (env.outcome.submitted_correct, env.outcome.any_attempt_correct) == (False, True)
    assert all("correct" not in step.feedback.text.lower() for step in steps)


@pytest.mark.parametrize(("answer", "right"), [(2, True), ("2", True), (3, False), ([[2]], False), (None, False)])
def test_submitting_a_literal(in_env: Callable[..., Any], answer: Any, right: bool) -> None:
    async def scenario(env: MedAgentEnv) -> MedAgentEnv:
        await act(env, Submit(answer=answer))
        return env

    outcome = in_env(scenario).outcome
    assert (outcome.submitted, outcome.submitted_correct) == (True, right)
    assert outcome.answer == answer


@pytest.mark.parametrize(("code", "right"), [("pass", True), ("answer = 3", False)])
def test_a_literal_stands_in_for_a_variable_never_set(in_env: Callable[..., Any], code: str, right: bool) -> None:
    async def scenario(env: MedAgentEnv) -> MedAgentEnv:
        await act(env, ExecuteCode(code=code))
        await env.step('{"action": "submit", "params": {"variable": "answer", "answer": 2}}')
        return env

    assert in_env(scenario).outcome.submitted_correct is right


@pytest.mark.parametrize(("answer", "right"), [("unanswerable", True), (2, False)])
def test_unanswerable_questions(in_env: Callable[..., Any], answer: Any, right: bool) -> None:
    async def scenario(env: MedAgentEnv) -> MedAgentEnv:
        await act(env, Submit(answer=answer))
        return env

    assert in_env(scenario, a_task(UnanswerableAnswer())).outcome.submitted_correct is right


@pytest.mark.parametrize(
    ("code", "variable", "says"),
    [("pass", "nowhere", "no variable 'nowhere'"), ("answer = lambda: 1", "answer", "cannot be submitted")],
)
def test_what_cannot_be_submitted_costs_a_turn_but_does_not_end(
    in_env: Callable[..., Any], code: str, variable: str, says: str
) -> None:
    async def scenario(env: MedAgentEnv) -> tuple[StepResult, MedAgentEnv]:
        await act(env, ExecuteCode(code=code))
        return await act(env, Submit(variable=variable)), env

    step, env = in_env(scenario)
    assert says in step.feedback.text
    assert (step.feedback.status, step.done, step.attempt_correct) == ("invalid", False, None)
    assert env.turns == 2
    assert not env.outcome.submitted


def test_unpermitted_actions_never_reach_the_sandbox(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> list[StepResult]:
        refused = await act(env, Terminal(cmd="echo 1 > /tmp/was_here"))
        return [refused, await act(env, ExecuteCode(code="import os; print(os.path.exists('/tmp/was_here'))"))]

    refused, looked = in_env(scenario, a_task(permitted=(ActionName.EXECUTE_CODE, ActionName.SUBMIT)))
    assert isinstance(refused.action, Invalid)
    assert refused.feedback.text.endswith("terminal is not permitted here. Permitted: execute_code, submit.")
    assert looked.feedback.text == "False"


def test_turns_run_out(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> list[bool]:
        return [(await env.step("no action")).done for _ in range(3)]

    assert in_env(scenario, max_turns=3) == [False, False, True]


def test_output_is_capped_head_and_tail(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> StepResult:
        return await act(env, ExecuteCode(code="print('a' * 600 + 'b' * 600)"))

    feedback = in_env(scenario, feedback_chars=200).feedback
    assert len(feedback.text) <= 200
    assert feedback.text.startswith("aaaa")
    assert feedback.text.endswith("bbbb")
    assert feedback.text.count("a" * 10) > 0
    assert f"[... {feedback.truncated_chars} characters left out ...]" in feedback.text


def test_terminal_runs_in_the_sandbox(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> list[StepResult]:
        return [await act(env, Terminal(cmd=cmd)) for cmd in ("head -n 2 /data/patients.csv", "exit 3")]

    read, failed = in_env(scenario)
    assert read.feedback.text.replace("\r", "") == "subject_id,gender,drug\n1,F,aspirin"
    assert failed.feedback.status == "error"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (RequestInfo(), "patients: subject_id, gender, drug\nvisits: subject_id, diagnosis"),
        (RequestInfo(data_path="visits"), "visits: subject_id, diagnosis"),
        (RequestInfo(data_path="/data/patients.csv"), "patients: subject_id, gender, drug"),
        (RequestInfo(data_path="ward.db"), "visits: subject_id, diagnosis"),
        (RequestInfo(info_type="column_values", keyterm="gender"), "patients.gender: F, M"),
        (RequestInfo(info_type="term", keyterm="Heart Failure"), "visits.diagnosis: heart failure"),
        (
            RequestInfo(info_type="term", keyterm="asprin"),
            "'asprin' was not found; nearest: 'aspirin' in patients.drug",
        ),
        (RequestInfo(info_type="term", keyterm="zzzzzz"), "'zzzzzz' was not found, and nothing near it"),
        (RequestInfo(data_path="nothere"), "nothing found for column_names nothere"),
    ],
)
def test_request_info(in_env: Callable[..., Any], request_: RequestInfo, expected: str) -> None:
    async def scenario(env: MedAgentEnv) -> tuple[StepResult, StepResult]:
        found = await act(env, request_)
        names = await act(env, ExecuteCode(code="print(sorted(n for n in dir() if not n.startswith('_')))"))
        return found, names

    found, names = in_env(scenario)
    assert found.feedback.text == expected
    assert "tables" not in names.feedback.text


def test_debug_explains_the_last_failed_cell(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> list[StepResult]:
        nothing = await act(env, Debug())
        code = "import sqlite3\nsqlite3.connect('/data/ward.db').execute('SELECT diagnosi FROM visits')"
        await act(env, ExecuteCode(code=code))
        return [nothing, await act(env, Debug())]

    nothing, explained = in_env(scenario)
    assert nothing.feedback.status == "invalid"
    assert "diagnosis" in explained.feedback.text


def test_a_cell_that_runs_too_long_is_a_timeout_and_the_episode_goes_on(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> list[StepResult]:
        code = ["while True: pass", "print(1)"]
        return [await act(env, ExecuteCode(code=cell)) for cell in code]

    looped, after = in_env(scenario)
    assert looped.feedback.status == "timeout"
    assert looped.feedback.text.startswith("Timeout after ")
    assert after.feedback.text == "1"


@pytest.mark.parametrize("protocol", ["json", "tools", "markdown"])
def test_the_prompt_puts_what_is_shared_first(protocol: str) -> None:
    wire, task = get_protocol(protocol), a_task()
    plain = compose(task, wire, PromptConfig(), EXAMPLE)
    assert [message["role"] for message in plain] == ["system", "user"]
    assert plain[1]["content"] == "Table patients.\n\nHow many patients are there?"
    shown = compose(task, wire, PromptConfig(examples=1, context=False, brief=True), EXAMPLE)
    assert [message["role"] for message in shown] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert shown[1]["content"] == EXAMPLE.question
    assert wire.parse(shown[4]["content"], task.permitted) == Submit(variable="answer")
    assert shown[5]["content"] == "How many patients are there?"
    assert len(shown[0]["content"]) < len(plain[0]["content"])


def test_the_reference_never_reaches_prompt_or_sandbox(in_env: Callable[..., Any]) -> None:
    secret = 918273645

    async def scenario(env: MedAgentEnv) -> list[str]:
        look = "import gc; print([o for o in gc.get_objects() if isinstance(o, dict) and 918273645 in o.values()][:1])"
        files = "import os; print(os.environ, os.listdir('/data'), open('/proc/self/cmdline').read())"
        messages = await env.reset(0)
        seen = [(await act(env, ExecuteCode(code=code))).feedback.text for code in (look, files)]
        return [*seen, str(messages)]

    seen = in_env(scenario, a_task(IntegerAnswer(value=secret)))
    assert seen[0] == "[]"
    assert not any(str(secret) in text for text in seen[1:])


def test_a_new_episode_knows_nothing_of_the_last(in_env: Callable[..., Any]) -> None:
    async def scenario(env: MedAgentEnv) -> tuple[StepResult, MedAgentEnv]:
        await act(env, ExecuteCode(code="answer = 2"))
        await act(env, Submit(variable="answer"))
        await env.reset(seed=2)
        return await act(env, Submit(variable="answer")), env

    step, env = in_env(scenario)
    assert step.feedback.status == "invalid"
    assert (env.turns, env.outcome.submitted, env.outcome.any_attempt_correct) == (1, False, False)
