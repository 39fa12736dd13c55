"""Functions by hidden inputs: slices without bodies, references that pass, copies and crashes that do not."""

import ast
import asyncio
import importlib.metadata
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from copilot.envs.hidden_inputs import run_hidden
from copilot.envs.sandboxes.base import SandboxBackend, SandboxConfig, SandboxSpec, make_backend
from copilot.envs.sources.biocoder import SOURCE, rosalind
from copilot.envs.sources.biocoder.original import assemble
from copilot.envs.sources.biocoder.rosalind import PROBLEMS, cases
from copilot.envs.sources.biocoder.slices import NotSliceable, slice_with_hole
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import OutputsAnswer
from copilot.reward.graders import grade

SKBIO = any(d.name == "scikit-bio" for d in importlib.metadata.distributions())


def with_backend(act: Callable[[SandboxBackend], Awaitable[object]]) -> object:
    async def run() -> object:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            return await act(backend)
        finally:
            await backend.close()

    return asyncio.run(run())


def verdicts(task: Task, *submitted: JsonValue) -> list[bool]:
    async def act(backend: SandboxBackend) -> list[bool]:
        found = []
        async with await backend.open(SandboxSpec()) as sandbox:
            for value in submitted:
                evidence = await SOURCE.evidence(task, value, sandbox, backend)
                found.append(grade(task.reference.answer, evidence).correct)
        return found

    return with_backend(act)  # type: ignore[return-value]


def solution(task: Task) -> str:
    return str(ast.literal_eval(task.reference.program.removeprefix("answer = ")))


def test_a_slice_has_no_body_left_and_works_with_it() -> None:
    text, body = slice_with_hole(rosalind.tokens)  # type: ignore[arg-type]
    assert "NotImplementedError" in text
    assert "text.split" not in text
    world: dict[str, object] = {}
    exec(compile(f"{text}\n{body}", "slice", "exec"), world)  # our own function
    assert world["tokens"]("a 0.5") == ["a", 0.5]  # type: ignore[operator]


def test_what_cannot_stand_alone_is_refused() -> None:
    with pytest.raises(NotSliceable):
        slice_with_hole(SOURCE.tasks.__func__)  # type: ignore[attr-defined]


def test_hidden_inputs_run_one_by_one_and_failures_are_data() -> None:
    async def act(backend: SandboxBackend) -> list[JsonValue]:
        code = "def f(x, y):\n    return {'q': x / y}"
        found = [await run_hidden(code, "f", [[6, 3], [1, 0], [1, 2]], backend)]
        found += [await run_hidden(text, "f", [[1, 2]], backend) for text in ("def f(", "g = 1", "", 7)]
        return found

    good, *bad = with_backend(act)  # type: ignore[misc]
    assert good == [{"value": {"q": 2.0}}, {"error": "error: ZeroDivisionError"}, {"value": {"q": 0.5}}]
    assert bad == [[{"error": "error: SyntaxError"}], [{"error": "error: NameError"}], None, None]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.key)
def test_own_solutions_solve_the_published_pairs(problem: rosalind.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, outputs = cases(problem)
    monkeypatch.delenv("MED_COPILOT_DATA", raising=False)
    own = len(cases(problem)[0])
    world: dict[str, Callable[[str], str]] = {}
    exec(problem.solution, world)  # our own text
    answer = OutputsAnswer(inputs=tuple(inputs), outputs=tuple(outputs), rel_tol=1e-3)
    found: list[JsonValue] = [{"value": rosalind.tokens(world["solve"](*case))} for case in inputs]  # type: ignore[misc]
    if problem.key != "lcsm" or len(inputs) == own:  # several longest strings may be shared
        assert grade(answer, found).correct
    assert len(inputs) in (own, own + 1)


LINE = {
    "idx": "61beb3529846e024cdff",
    "problem": "Write gc(strand), the number of G and C.",
    "signature": "def gc(strand)",
    "solution": "def gc(strand):\n    return sum(base in STRONG for base in strand)",
    "context": "import math\nimport no_such_module\nSTRONG = 'GC'\n<<insert solution here>>\ndef main():\n    "
    "print(gc('GATTACA'))\n"
    "if __name__ == '__main__':\n    main()",
}


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    path = tmp_path / "biocoder" / "test_tasks.jsonl"
    path.parent.mkdir()
    other = {**LINE, "context": "print(1)"}
    path.write_text("\n".join([json.dumps(LINE), "{", json.dumps(other), json.dumps({"idx": "x"})]))
    from copilot.envs.sources.biocoder import original

    original.read.cache_clear()
    return path


def test_the_originals_layout(upstream: Path) -> None:
    (task,) = SOURCE.tasks("test")
    assert SOURCE.dropped("test") == {"no place for the function": 1, "fields are missing": 1, "malformed line": 1}
    right = "def gc(s):\n    return s.count('G') + s.count('C')"
    assert verdicts(task, solution(task), right, "def gc(s): return 3", "print(2)", None, "") == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    with pytest.raises(DataError, match=r"no train_tasks\.jsonl of BioCoder"):
        list(SOURCE.tasks("train"))


def test_functions_are_indented_to_their_place() -> None:
    program = assemble("class A:\n    <<insert solution here>>\nprint(A().f())", "def f(self):\n    return 1")
    assert ast.unparse(ast.parse(program)) == "class A:\n\n    def f(self):\n        return 1\nprint(A().f())"


@pytest.mark.skipif(not SKBIO, reason="needs scikit-bio and biopython")
def test_functions_of_packages() -> None:
    train, test = list(SOURCE.tasks("train_form")), list(SOURCE.tasks("test_form"))
    assert len(train) + len(test) > 55
    assert not {t.template for t in train} & {t.template for t in test}
    task = next(t for t in test if t.template.startswith("skbio"))
    (path,) = SOURCE.files(task).values()
    body = ast.parse(solution(task)).body[0]
    assert isinstance(body, ast.FunctionDef)
    assert ast.unparse(body.body[-1]) not in path.read_text()
    name = body.name
    assert verdicts(task, solution(task), f"def {name}(*a, **k): return 1", "", None) == [True, False, False, False]
