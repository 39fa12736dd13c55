"""A checkpoint at work on a user's own tables: the same episode loop, protocol and sandbox as in training.

The question becomes a task without a reference (nothing is graded), the files a source of its own; the loaded model
is wrapped as a policy.
"""

import asyncio
import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import torch

from copilot.envs.actions import Submit
from copilot.envs.protocols import get_protocol
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source
from copilot.envs.sqlite_files import preamble
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.policy.base import Generation, GenerationRequest, Policy, SamplingParams
from copilot.policy.tokens import stop_token_ids
from copilot.release.checkpoint import Copilot, Solution
from copilot.reward.answers import StringAnswer
from copilot.rollout.config import RolloutConfig
from copilot.rollout.episode import Player, play
from copilot.rollout.job import Job
from copilot.rollout.rendering import Renderer
from copilot.verifier.best_of import best_of

_SQLITE = {".db", ".sqlite", ".sqlite3"}


def solve(
    copilot: Copilot,
    question: str,
    *,
    files: dict[str, Path],
    context: str,
    max_turns: int,
    sampling: SamplingParams,
    sandbox: SandboxConfig,
    seed: int,
    attempts: int,
    verifier: str,
) -> Solution:
    """See :meth:`copilot.release.checkpoint.Copilot.solve`."""
    source = OwnTables(files)
    task = Task(
        id="own/question",
        source=source.name,
        split="own",
        question=question,
        context="\n".join(part for part in (context, source.describe()) if part),
        reference=Reference(answer=StringAnswer(value="")),
    )
    rollout = RolloutConfig(
        protocol=copilot.info.protocol,
        # Trained without a schema or not: these tables it has never seen.
        prompt=copilot.info.prompt.model_copy(update={"context": True, "examples": 0}),
        max_turns=max_turns,
        sampling=sampling,
        sandbox=sandbox,
    )
    policy = LoadedPolicy(copilot)
    return asyncio.run(play_question(policy, task, source, rollout, seed=seed, attempts=attempts, verifier=verifier))


async def play_question(
    policy: Policy,
    task: Task,
    source: Source,
    rollout: RolloutConfig,
    *,
    seed: int,
    attempts: int = 1,
    verifier: str = "",
) -> Solution:
    """Episodes of a policy with a tokenizer, in sandboxes opened for them; the best of them."""
    assert policy.tokenizer is not None
    backend = make_backend(rollout.sandbox)
    renderer = Renderer(policy.tokenizer, get_protocol(rollout.protocol))
    isolation = await backend.start()
    player = Player(
        policy,
        backend,
        rollout,
        label=policy.label,
        seed=seed,
        isolation=f"{isolation.backend}/{isolation.level}",
        renderer=renderer,
    )
    try:
        played = [await play(player, Job(task, attempt), source=source) for attempt in range(attempts)]
    finally:
        await backend.close()
    trajectory, score = await best_of(played, verifier)
    return Solution(trajectory.outcome.answer, trajectory.outcome.submitted, trajectory, score)


class LoadedPolicy(Policy):
    """A model that is already in memory, one request at a time."""

    def __init__(self, copilot: Copilot) -> None:
        self._model: Any = copilot.model
        self.tokenizer, self.label = copilot.tokenizer, copilot.info.name
        self.context_length = int(copilot.model.config.max_position_embeddings)
        self._stop_ids = stop_token_ids(copilot.tokenizer, str(copilot.tokenizer.name_or_path))

    async def start(self) -> None:
        """Nothing to bring up."""

    async def close(self) -> None:
        """The model stays with its owner."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn; see :meth:`Policy.generate`."""
        assert request.prompt_ids is not None, "the renderer makes them"
        sampled = await asyncio.to_thread(self._sample, request.prompt_ids, request.sampling, request.seed)
        stopped = sampled[-1] in self._stop_ids
        assert self.tokenizer is not None
        return Generation(
            text=str(self.tokenizer.decode(sampled[:-1] if stopped else sampled, skip_special_tokens=True)),
            finish_reason="stop" if stopped else "length",
            token_ids=sampled,
            policy_version=self.label,
            prompt_tokens=len(request.prompt_ids),
            completion_tokens=len(sampled),
        )

    def _sample(self, prompt_ids: list[int], sampling: SamplingParams, seed: int) -> list[int]:
        torch.manual_seed(seed % 2**63)
        ids = torch.tensor([prompt_ids], device=self._model.device)
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p} if sampling.temperature > 0 else {}
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=sampling.max_tokens,
                do_sample=bool(drawn),
                eos_token_id=self._stop_ids,
                pad_token_id=self._stop_ids[0],
                **drawn,
            )
        tokens: list[int] = out[0, len(prompt_ids) :].tolist()
        return tokens


class OwnTables(Source):
    """A user's files as a source of one question."""

    name: ClassVar[str] = "own_tables"
    title: ClassVar[str] = "A user's own tables"
    licence: ClassVar[str] = "the user's"
    credentialed: ClassVar[bool] = True  # it never leaves this machine: not even to a third-party engine

    def __init__(self, files: dict[str, Path]) -> None:
        missing = [str(path) for path in files.values() if not path.is_file()]
        if missing:
            raise DataError(f"no such file: {', '.join(missing)}", remedy="check the paths given as files=")
        self._files = {name: path.absolute() for name, path in files.items()}

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """There are no tasks but the user's."""
        return iter(())

    def files(self, task: Task) -> dict[str, Path]:
        """What the user gave."""
        return self._files

    def preamble(self, task: Task) -> str:
        """``sql(query)`` when there is one database among the files."""
        databases = self._databases()
        if len(databases) != 1:
            return ""
        return preamble(datetime.now().strftime("%Y-%m-%d %H:%M:%S")).replace("/data/ehr.db", f"/data/{databases[0]}")

    def worked_example(self) -> WorkedExample:
        """A submission; prompts over own tables carry none."""
        return WorkedExample(question="What is one plus one?", steps=((Submit(answer=2), ""),))

    def describe(self) -> str:
        """Tables and columns, for the prompt."""
        lines = []
        for name, path in self._files.items():
            if path.suffix in _SQLITE:
                lines.append(f"/data/{name} (SQLite; sql(query) reads it):")
                lines += [f"  {table}({', '.join(columns)})" for table, columns in _tables(path)]
            elif path.suffix == ".csv":
                with open(path, newline="", encoding="utf-8") as file:
                    lines.append(f"/data/{name} (CSV): {', '.join(next(csv.reader(file), []))}")
            else:
                lines.append(f"/data/{name}")
        return "\n".join(lines)

    def _databases(self) -> list[str]:
        return [name for name, path in self._files.items() if path.suffix in _SQLITE]


def _tables(path: Path) -> list[tuple[str, list[str]]]:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as con:
            names = [row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")]
            columns = {name: con.execute("SELECT name FROM pragma_table_info(?)", (name,)).fetchall() for name in names}
    except sqlite3.DatabaseError as error:
        raise DataError(f"not a SQLite database: {error}", where=path) from error
    return [(name, [column for (column,) in rows]) for name, rows in columns.items()]
