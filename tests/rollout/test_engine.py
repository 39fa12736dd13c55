"""The episode engine with scripted policies on the real sandbox: token-exact records, masking, retries, resuming."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from copilot.data.store import TrajectoryWriter, finished_keys, read_trajectories
from copilot.data.trajectory import StopReason, Trajectory
from copilot.envs.actions import Invalid, Submit
from copilot.envs.sandboxes.base import Isolation, Sandbox, SandboxBackend, SandboxConfig, SandboxSpec, make_backend
from copilot.envs.sources.base import get_source
from copilot.envs.task import Task
from copilot.errors import InfrastructureError, ModelError
from copilot.models.tiny import tiny_tokenizer
from copilot.policy.base import Generation, GenerationRequest, Policy, SamplingParams
from copilot.rollout.config import RolloutConfig
from copilot.rollout.engine import Tally, run_jobs
from copilot.rollout.job import Job

Script = Callable[[GenerationRequest], str]
TOKENIZER = tiny_tokenizer()
STOP: int = TOKENIZER.eos_token_id
OTHER_STOP: int = TOKENIZER.pad_token_id
WORK = "```python\nprint('working')\n```"
DONE = "```submit\n3\n```"


class Scripted(Policy):
    """Says what a function says; counts what happens to it."""

    label = "scripted"

    def __init__(self, script: Script, *, tokens: bool = True, stop: int = STOP) -> None:
        self.script, self.stop = script, stop
        self.tokenizer = TOKENIZER if tokens else None
        self.requests: list[GenerationRequest] = []
        self.in_flight = self.most_in_flight = self.meet = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            while self.most_in_flight < self.meet:
                await asyncio.sleep(0.001)
            text = self.script(request)
        finally:
            self.in_flight -= 1
        if self.tokenizer is None:
            return Generation(text=text, prompt_tokens=7, completion_tokens=3)
        ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        cut = len(ids) + 1 > request.sampling.max_tokens
        ids = ids[: request.sampling.max_tokens] if cut else [*ids, self.stop]
        return Generation(
            text=TOKENIZER.decode([i for i in ids if i != self.stop]),
            finish_reason="length" if cut else "stop",
            token_ids=ids,
            logprobs=[-float(n + 1) for n in range(len(ids))],
            policy_version="scripted@1",
        )


class Unlucky(SandboxBackend):
    """A real backend that cannot be had for the first ``broken`` openings."""

    def __init__(self, broken: int) -> None:
        self.inner, self.broken = make_backend(SandboxConfig(require="none")), broken
        self.opened = 0

    async def start(self) -> Isolation:
        return await self.inner.start()

    async def open(self, spec: SandboxSpec) -> Sandbox:
        self.opened += 1
        if self.opened <= self.broken:
            raise InfrastructureError("sandbox", "no room")
        return await self.inner.open(spec)

    async def close(self) -> None:
        await self.inner.close()


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return list(get_source("clinical_calc").tasks("valid", limit=6))


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., tuple[Tally, list[Trajectory]]]:
    """Plays jobs into a shard of its own and reads it back."""

    def run(jobs: list[Job], policy: Policy, backend: SandboxBackend | None = None, **changes: object) -> object:
        config = RolloutConfig.model_validate({"max_turns": 4, "sandbox": {"require": "none"}, **changes})
        with TrajectoryWriter(tmp_path / "rank0.jsonl") as writer:
            tally = asyncio.run(
                run_jobs(
                    jobs,
                    policy=policy,
                    adapter=None,
                    label="scripted",
                    config=config,
                    writer=writer,
                    seed=5,
                    backend=backend,
                )
            )
        return tally, list(read_trajectories(tmp_path))

    return run  # type: ignore[return-value]


def two_turns(request: GenerationRequest) -> str:
    return (WORK, DONE)[min(request.turn, 1)]


def test_rows_are_the_conversation_token_by_token(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    tally, [trajectory] = play([Job(tasks[0], 0)], Scripted(two_turns))
    (row,) = trajectory.rows
    conversation = [
        *trajectory.prompt,
        {"role": "assistant", "content": WORK},
        {"role": "user", "content": "working"},
        {"role": "assistant", "content": DONE},
    ]
    whole = TOKENIZER.apply_chat_template(conversation, tokenize=False)
    assert TOKENIZER.decode(row.ids) + "\n" == whole
    sampled = [TOKENIZER.decode(row.ids[s.start : s.end]) for s in row.spans]
    assert sampled == [f"{WORK}<|im_end|>", f"{DONE}<|im_end|>"]
    assert row.logprobs is not None
    for span in row.spans:
        assert row.logprobs[span.start : span.end] == tuple(-float(n + 1) for n in range(span.end - span.start))
    assert sum(row.mask) == tally.completion_tokens == sum(t.completion_tokens for t in trajectory.turns)
    assert [t.prompt_tokens for t in trajectory.turns] == [span.start for span in row.spans]
    assert (trajectory.stop_reason, trajectory.forks, trajectory.outcome.answer) == (StopReason.SUBMITTED, 0, 3)
    assert trajectory.model == "scripted@1"
    assert trajectory.isolation.startswith("local/")


def test_policies_without_tokens_leave_messages_only(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    policy = Scripted(two_turns, tokens=False)
    tally, [trajectory] = play([Job(tasks[0], 0)], policy)
    assert trajectory.rows == ()
    assert policy.requests[1].prompt_ids is None
    assert [m["role"] for m in policy.requests[1].messages] == ["system", "user", "assistant", "user"]
    assert (tally.prompt_tokens, tally.completion_tokens) == (14, 6)


def test_a_message_cut_by_the_token_limit_is_told_and_masked_right(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    policy = Scripted(lambda r: DONE if r.turn else "```python\n" + "x = 1\n" * 50 + "```")
    _, [trajectory] = play([Job(tasks[0], 0)], policy, sampling={"max_tokens": 20})
    first = trajectory.turns[0]
    assert first.finish_reason == "length"
    assert isinstance(first.action, Invalid)
    assert "cut off" in first.feedback.text
    (row,) = trajectory.rows
    assert row.spans[0].end - row.spans[0].start == 20
    assert row.ids[row.spans[0].end] == STOP
    assert row.mask[row.spans[0].end] == 0


def test_another_stop_token_forks_and_is_counted(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    tally, [trajectory] = play([Job(tasks[0], 0)], Scripted(two_turns, stop=OTHER_STOP))
    assert (trajectory.forks, tally.forks, len(trajectory.rows)) == (1, 1, 2)


def test_the_context_is_never_overrun(tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]) -> None:
    policy = Scripted(lambda r: "```python\nprint('y' * 300)\n```")
    policy.context_length = 900
    tally, [trajectory] = play([Job(tasks[0], 0)], policy, max_turns=15, sampling={"max_tokens": 64})
    assert trajectory.stop_reason is StopReason.CONTEXT
    assert 0 < len(trajectory.turns) < 15
    for request in policy.requests:
        assert request.prompt_ids is not None
        assert len(request.prompt_ids) + request.sampling.max_tokens <= 900
    assert tally.stops == Counter({"context": 1})


def test_a_loop_ends_the_episode(tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]) -> None:
    cells = ("print(1)", "print(2)", "print(2)", "print(1)", "print(1)", "print(1)", "print(1)")
    policy = Scripted(lambda r: f"```python\n{cells[r.turn]}\n```")
    _, [trajectory] = play([Job(tasks[0], 0)], policy, max_turns=15, max_repeats=3)
    assert (trajectory.stop_reason, len(trajectory.turns)) == (StopReason.LOOP, 6)


def test_turns_without_an_action_are_a_loop_whatever_they_say(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    _, [trajectory] = play([Job(tasks[0], 0)], Scripted(lambda r: f"hm {r.turn}"), max_turns=15, max_repeats=4)
    assert (trajectory.stop_reason, len(trajectory.turns)) == (StopReason.LOOP, 4)


def test_turns_run_out(tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]) -> None:
    _, [trajectory] = play([Job(tasks[0], 0)], Scripted(lambda r: "hm"), max_turns=3)
    assert trajectory.stop_reason is StopReason.MAX_TURNS
    assert len(trajectory.turns) == 3
    assert all(turn.failed for turn in trajectory.turns)
    assert not trajectory.outcome.submitted


def test_many_episodes_at_once_and_each_exactly_once(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    jobs = [Job(task, attempt) for task in tasks for attempt in range(3)]
    policy = Scripted(two_turns)
    policy.meet = 5  # nobody answers before so many wait: the test hangs if fewer are played at once
    tally, trajectories = play(jobs, policy, concurrency=5)
    assert sorted(t.key for t in trajectories) == sorted(job.key for job in jobs)
    assert policy.most_in_flight == 5
    assert (tally.episodes, tally.turns, tally.masked) == (18, 36, 0)
    assert len({t.seed for t in trajectories}) == 18
    assert len({r.seed for r in policy.requests}) == 36


def test_a_passing_failure_is_retried_and_counted(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    tally, [trajectory] = play([Job(tasks[0], 0)], Scripted(two_turns), Unlucky(2), retries=2)
    assert not trajectory.masked
    assert (tally.retried, tally.masked) == (2, 0)


def test_a_lasting_failure_is_masked_and_played_again_next_time(
    tasks: list[Task], tmp_path: Path, play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    def broken(request: GenerationRequest) -> str:
        if request.turn == 1:
            raise InfrastructureError("server", "connection reset")
        return WORK

    tally, [trajectory] = play([Job(tasks[0], 0)], Scripted(broken), retries=1)
    assert trajectory.masked
    assert trajectory.failure is not None
    assert (trajectory.failure.boundary, trajectory.failure.message) == ("server", "connection reset")
    assert trajectory.stop_reason is StopReason.FAILURE
    assert not trajectory.outcome.submitted
    assert [turn.text for turn in trajectory.turns] == [WORK]
    assert (tally.masked, tally.retried, dict(tally.failures)) == (1, 1, {"server": 1})
    assert finished_keys(tmp_path) == set()
    _, [again] = play([Job(tasks[0], 0)], Scripted(two_turns))
    assert not again.masked
    assert finished_keys(tmp_path) == {(tasks[0].id, 0)}


def test_a_users_mistake_ends_the_run_and_keeps_what_is_written(
    tasks: list[Task], tmp_path: Path, play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    def script(request: GenerationRequest) -> str:
        if request.task.id == tasks[3].id:
            raise ModelError("no such model", remedy="name another")
        return DONE

    with pytest.raises(ModelError, match="no such model"):
        play([Job(task, 0) for task in tasks], Scripted(script), concurrency=1)
    assert finished_keys(tmp_path) == {(task.id, 0) for task in tasks[:3]}


def test_interrupting_closes_everything_and_keeps_what_is_written(tasks: list[Task], tmp_path: Path) -> None:
    policy = Scripted(two_turns)
    written: list[Trajectory] = []

    def jobs() -> Iterator[Job]:
        yield from (Job(tasks[n % len(tasks)], n) for n in range(10_000))

    async def main() -> None:
        backend = make_backend(SandboxConfig(require="none"))
        config = RolloutConfig(concurrency=4)
        with TrajectoryWriter(tmp_path / "rank0.jsonl") as writer:
            running = asyncio.create_task(
                run_jobs(
                    jobs(),
                    policy=policy,
                    adapter=None,
                    label="s",
                    config=config,
                    writer=writer,
                    seed=0,
                    on_done=written.append,
                    backend=backend,
                )
            )
            while len(written) < 5:
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            with pytest.raises(Exception, match=r"."):  # the backend is closed: nothing can be opened any more
                await backend.open(SandboxSpec())

    asyncio.run(main())
    assert policy.in_flight == 0
    assert finished_keys(tmp_path) == {t.key for t in written}


def test_teachers_without_token_ids_get_the_tokenizers(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    class Teacher(Scripted):
        async def generate(self, request: GenerationRequest) -> Generation:
            return Generation(text=two_turns(request))

    _, [trajectory] = play([Job(tasks[0], 0)], Teacher(two_turns))
    (row,) = trajectory.rows
    assert row.logprobs is None
    assert [TOKENIZER.decode(row.ids[s.start : s.end]) for s in row.spans] == [f"{WORK}<|im_end|>", f"{DONE}<|im_end|>"]
    assert trajectory.turns[0].action.type == "execute_code"
    assert trajectory.turns[1].action == Submit(answer=3)


def test_sampling_settings_reach_the_engine(
    tasks: list[Task], play: Callable[..., tuple[Tally, list[Trajectory]]]
) -> None:
    policy = Scripted(two_turns)
    _, [trajectory] = play([Job(tasks[0], 0)], policy, sampling={"temperature": 0.6, "top_p": 0.9, "max_tokens": 50})
    assert policy.requests[0].sampling == SamplingParams(temperature=0.6, top_p=0.9, max_tokens=50)
    assert policy.requests[0].protocol == "markdown"
    assert trajectory.rows[0].temperature == 0.6
