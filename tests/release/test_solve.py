"""A question about a user's own tables, through the real environment and sandbox."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import copilot
from copilot.envs.actions import Submit
from copilot.envs.protocols import get_protocol
from copilot.envs.task import Reference, Task
from copilot.errors import DataError
from copilot.policy.base import Generation, GenerationRequest, Policy, SamplingParams
from copilot.release.solve import OwnTables, play_question
from copilot.reward.answers import StringAnswer
from copilot.rollout.config import RolloutConfig


class Scripted(Policy):
    """A policy that says what it is told to."""

    def __init__(self, tiny: Path, messages: list[str]) -> None:
        self.tokenizer, self._messages, self.label = AutoTokenizer.from_pretrained(tiny), messages, "scripted"
        self.seen: list[list[dict[str, Any]]] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> Generation:
        self.seen.append(request.messages)
        return Generation(text=self._messages[request.turn])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "labs.csv").write_text("patient,lactate\n1,2.5\n2,4.0\n", encoding="utf-8")
    with sqlite3.connect(tmp_path / "ward.db") as con:
        con.execute("CREATE TABLE beds (bed INTEGER, patient INTEGER)")
        con.executemany("INSERT INTO beds VALUES (?, ?)", [(10, 1), (11, 2), (12, 2)])
    return {"labs.csv": tmp_path / "labs.csv", "ward.db": tmp_path / "ward.db"}


def question(source: OwnTables) -> Task:
    return Task(
        id="own/question",
        source="own_tables",
        split="own",
        question="Beds times highest lactate?",
        context=source.describe(),
        reference=Reference(answer=StringAnswer(value="")),
    )


def test_own_tables_are_described_mounted_and_queried(tiny: Path, files: dict[str, Path]) -> None:
    source = OwnTables(files)
    rollout = RolloutConfig(protocol="markdown", max_turns=3)
    code = (
        "import pandas as pd\nanswer = sql('SELECT COUNT(*) FROM beds') * pd.read_csv('/data/labs.csv').lactate.max()"
    )
    submit = get_protocol("markdown").render(Submit(variable="answer"))
    policy = Scripted(tiny, [f"```python\n{code}\n```", submit])
    solution = asyncio.run(play_question(policy, question(source), source, rollout, seed=0))
    assert solution.trajectory.failure is None, solution.trajectory.failure
    assert (solution.submitted, solution.answer) == (True, 12.0)
    shown = policy.seen[0][-1]["content"]
    assert "beds(bed, patient)" in shown
    assert "labs.csv (CSV): patient, lactate" in shown


def test_a_loaded_model_plays_the_real_loop(tiny: Path, files: dict[str, Path]) -> None:
    """A random model submits nothing; the episode ends by itself and is recorded token by token."""
    solution = copilot.load(tiny).solve(
        "How many beds?", files=files, max_turns=2, sampling=SamplingParams(max_tokens=12)
    )
    assert solution.trajectory.failure is None, solution.trajectory.failure
    assert not solution.submitted
    assert len(solution.trajectory.turns) == 2
    assert sum(solution.trajectory.rows[-1].mask) > 0


class Wavering(Scripted):
    """Says another answer at each attempt."""

    async def generate(self, request: GenerationRequest) -> Generation:
        answer = self._messages[request.attempt]
        return Generation(text=f"```python\nanswer = {answer}\n```" if request.turn == 0 else "```submit\nanswer\n```")


def test_of_several_attempts_the_majority_is_believed(tiny: Path, files: dict[str, Path]) -> None:
    source, rollout = OwnTables(files), RolloutConfig(protocol="markdown", max_turns=3)
    policy = Wavering(tiny, ["7", "12", "12.0"])
    solution = asyncio.run(play_question(policy, question(source), source, rollout, seed=0, attempts=3))
    assert (solution.answer, solution.score, solution.trajectory.attempt) == (12, None, 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv"):
        OwnTables({"gone.csv": tmp_path / "gone.csv"})
