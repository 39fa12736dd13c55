"""Asserts over returned values: right programs pass, forged ones do not; upstream's layout on made-up files."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from copilot.envs.returned_values import judge, names_in
from copilot.envs.sandboxes.base import Sandbox, SandboxBackend, SandboxConfig, SandboxSpec, make_backend
from copilot.envs.sources.biodsbench import SOURCE
from copilot.envs.sources.biodsbench.original import split_checks
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.graders import grade

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")


def in_sandbox(spec: SandboxSpec, act: Callable[[Sandbox, SandboxBackend], Awaitable[object]]) -> object:
    async def run() -> object:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            async with await backend.open(spec) as sandbox:
                return await act(sandbox, backend)
        finally:
            await backend.close()

    return asyncio.run(run())


CHECKS = (
    "assert len(table) == 2 and list(table.columns) == ['a', 'b']",
    "assert series['x'] == 1.5",
    "assert pairs == {('g', 1): [2, None]}",
    "assert abs(np.mean(array) - 2) < 1e-9",
    "assert table['b'].isna().sum() == 1",
)
RIGHT = """
import numpy as np, pandas as pd
table = pd.DataFrame({'a': [1, 2], 'b': [0.5, None]})
series = pd.Series([1.5], index=['x'])
pairs = {('g', 1): [2, None]}
array = np.array([1, 2, 3])
"""
FORGED = """
import builtins, json, numpy as np, pandas as pd
class Always:
    def __eq__(self, other): return True
    def __len__(self): return 2
    def __getattr__(self, name): return Always()
    def __call__(self, *a, **k): return Always()
    def __getitem__(self, key): return Always()
table = series = pairs = array = Always()
builtins.len = lambda x: 2
builtins.abs = lambda x: 0
json.dumps = lambda *a, **k: '{"pairs": true}'
_outputs = [{"value": True}] * 5
"""


def test_values_of_every_kind_are_judged_elsewhere_and_forgeries_fail() -> None:
    async def act(sandbox: Sandbox, backend: SandboxBackend) -> list[object]:
        found = [await judge(CHECKS, sandbox, backend)]
        for code in (RIGHT, FORGED):
            await sandbox.execute(code)
            found.append(await judge(CHECKS, sandbox, backend))
        return found

    empty, right, forged = in_sandbox(SandboxSpec(), act)  # type: ignore[misc]
    assert right == [{"value": True}] * 5
    assert [output.get("value") for output in empty] == [None] * 5
    assert [output.get("value") for output in forged] == [None] * 5


def test_names_of_asserts() -> None:
    assert names_in(CHECKS) == ("array", "pairs", "series", "table")
    assert names_in(("x = 2\nassert len(df) == x and math.pi > 3",)) == ("df",)
    assert split_checks("import math\nassert a == 1\nlen(b) == 2\nassert b") == (
        "import math\nassert a == 1",
        "import math\nassert b",
    )
    assert split_checks("assert (") == ()


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    root = tmp_path / "BioDSBench"
    (root / "data_files/77").mkdir(parents=True)
    (root / "data_files/77/t.csv").write_text("a\n1\n2\n")
    item = {
        "study_ids": "77",
        "unique_question_ids": "77_0",
        "queries": "Read /workdir/t.csv, save its length as `n`.",
        "code_histories": None,
        "reference_answer": "import pandas as pd\nn = len(pd.read_csv('./workdir/t.csv'))",
        "test_cases": "assert n == 2",
        "tables": '["/workdir/t.csv"]',
        "study_types": "Made up",
    }
    others = [
        {**item, "study_ids": "78", "unique_question_ids": "78_0"},
        {**item, "unique_question_ids": "77_1", "test_cases": "assert kmf.percentile(0.3) == 1"},
        {**item, "unique_question_ids": "77_2", "test_cases": "n == 2"},
    ]
    lines = [json.dumps(item), "{broken", *map(json.dumps, others)]
    (root / "python_tasks_with_class.jsonl").write_text("\n".join(lines))
    return root


def test_the_originals_layout(upstream: Path) -> None:
    tasks = list(SOURCE.tasks("test"))
    assert [task.id for task in tasks] == ["biodsbench/test/77_0"]
    assert "Read /data/t.csv" in tasks[0].question
    assert "names: n." in tasks[0].question
    assert SOURCE.dropped("test") == {
        "its study is not here": 1,
        "asserts call fitted models": 1,
        "no assert that can be read": 1,
        "malformed line": 1,
    }
    assert graded(tasks[0], tasks[0].reference.program)
    assert not graded(tasks[0], "n = 3")
    (upstream / "data_files/77/t.csv").unlink()
    from copilot.envs.sources.biodsbench import original

    original.read.cache_clear()
    with pytest.raises(DataError, match="no task of BioDSBench can be asked here"):
        SOURCE.tasks("test")


def graded(task: Task, code: str) -> bool:
    async def act(sandbox: Sandbox, backend: SandboxBackend) -> bool:
        result = await sandbox.execute(code)
        assert result.status == "ok", result.stderr
        return grade(task.reference.answer, await SOURCE.evidence(task, "done", sandbox, backend)).correct

    return bool(in_sandbox(SandboxSpec(files=SOURCE.files(task)), act))


@needs_data
@pytest.mark.data
def test_look_alikes_are_seeded_and_hold_templates_out() -> None:
    train, test = list(SOURCE.tasks("train_form", limit=25)), list(SOURCE.tasks("test_form", limit=12))
    assert train[:9] == list(SOURCE.tasks("train_form", limit=9))
    assert not {t.template for t in train} & {t.template for t in test}
    assert graded(test[0], test[0].reference.program)
    assert not graded(test[0], test[1].reference.program)
