"""Stopping hopeless episodes: thresholds and errors in closed form, the hook in a real episode, per-turn labels."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.data.build_verifier import build_verifier
from copilot.data.rows import Sample
from copilot.data.store import TrajectoryWriter, read_trajectories
from copilot.data.trajectory import StopReason, Trajectory
from copilot.data.transcript import transcript
from copilot.envs.sandboxes.base import SandboxConfig
from copilot.envs.sources.base import get_source
from copilot.errors import DataError
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.rollout.config import RolloutConfig
from copilot.rollout.engine import run_jobs
from copilot.rollout.job import Job
from copilot.verifier.continuations import Replay, plan, turn_values
from copilot.verifier.early_stop import Watched, fit_threshold, stopping

Make = Callable[..., Trajectory]

watched = st.lists(
    st.builds(
        Watched,
        st.lists(st.floats(0.01, 0.99), max_size=4).map(tuple),
        st.just(5),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
).filter(lambda episodes: any(e.right for e in episodes))


@settings(deadline=None)
@given(watched, st.floats(0, 0.99))
def test_the_fitted_threshold_keeps_its_promise_and_is_the_highest(episodes: list[Watched], most: float) -> None:
    threshold = fit_threshold(episodes, max_error=most)
    found = stopping(episodes, threshold)
    assert found.error.value <= most + 1e-9
    higher = [min(e.scores) for e in episodes if e.right and e.scores and min(e.scores) > threshold]
    if higher and most < 0.9:
        assert stopping(episodes, min(higher) + 1e-6).error.value > most


def test_error_catch_and_saving_in_closed_form() -> None:
    episodes = [
        Watched((0.9, 0.8), 3, True),
        Watched((0.4, 0.9), 3, True),
        Watched((0.1,), 2, False),
        Watched((0.6, 0.2, 0.9), 4, False),
    ]
    found = stopping(episodes, 0.5)
    assert (found.error.value, found.caught.value) == (0.5, 1.0)
    assert found.turns_saved == pytest.approx((2 + 1 + 2) / 12)
    assert found.error.high > 0.9
    with pytest.raises(DataError, match="none of 1 validation episodes is right"):
        fit_threshold(episodes[2:3], max_error=0.1)


class Says(Policy):
    """Text only: a list of messages, then the last one for ever."""

    label = "says"

    def __init__(self, *messages: str) -> None:
        self.messages = messages
        self.asked = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked += 1
        return Generation(text=self.messages[min(request.turn, len(self.messages) - 1)])


def played(folder: Path, policy: Policy, jobs: list[Job], **rest: Any) -> list[Trajectory]:
    config = RolloutConfig(max_turns=4, concurrency=2, sandbox=SandboxConfig(require="none"))
    with TrajectoryWriter(folder / "rank0.jsonl") as writer:
        asyncio.run(
            run_jobs(jobs, policy=policy, adapter=None, label="x", config=config, writer=writer, seed=0, **rest)
        )
    return list(read_trajectories(folder))


WORK = "```python\nanswer = 1\n```"


def test_a_running_episode_is_given_up_on_what_is_known_so_far(tmp_path: Path) -> None:
    seen: list[Trajectory] = []

    async def hopeless(so_far: Trajectory) -> bool:
        seen.append(so_far)
        return len(so_far.turns) == 2

    task = next(iter(get_source("clinical_calc").tasks("valid", limit=1)))
    (trajectory,) = played(tmp_path, Says(WORK), [Job(task, 0)], hopeless=hopeless)
    assert trajectory.stop_reason is StopReason.HOPELESS
    assert (len(trajectory.turns), trajectory.masked, trajectory.outcome.submitted) == (2, False, False)
    assert [len(t.turns) for t in seen] == [1, 2]
    assert transcript(seen[-1], after=2) == transcript(trajectory, after=2)


def test_continuations_replay_the_record_then_play_on(tmp_path: Path) -> None:
    task = next(iter(get_source("clinical_calc").tasks("valid", limit=1)))
    recorded = played(
        tmp_path / "a", Says(WORK, "```python\nanswer = 2\n```", "```submit\nanswer\n```"), [Job(task, 0)]
    )
    spots = plan(recorded, repeats=2)
    assert [(spot.turns, key) for key, spot in spots.items()] == [
        (1, (task.id, 0)),
        (1, (task.id, 1)),
        (2, (task.id, 2)),
        (2, (task.id, 3)),
    ]
    program = task.reference.program
    right = Says(*[f"```python\n{program}\n```"] * 2, "```submit\nanswer\n```")
    found = played(tmp_path / "b", Replay(right, spots), [Job(task, attempt) for _, attempt in spots])
    by_attempt = {t.attempt: t for t in found}
    assert by_attempt[0].turns[0].text == recorded[0].turns[0].text
    assert by_attempt[0].turns[1].text != recorded[0].turns[1].text
    assert by_attempt[2].turns[1].text == recorded[0].turns[1].text
    # from the first turn on the right program is still to come; after the second only the submission of a wrong answer
    assert turn_values(spots, found) == {(task.id, 0): {1: 1.0, 2: 0.0}}


def test_rows_of_single_turns_carry_the_share_of_continuations(episode: Make) -> None:
    pair = [episode(0, 0, right=True, turns=2), episode(0, 1, right=False, turns=1)]
    samples = [Sample("s", pair[0], turn_values={1: 0.25}), Sample("s", pair[1])]
    built = build_verifier(samples, prefixes=True)
    whole, on_the_way = built.rows[:2], built.rows[2:]
    assert [row.kind for row in whole] == ["right", "wrong"]
    assert [(r.record["target"], r.record["label"], len(r.record["turns"])) for r in on_the_way] == [
        (0.25, False, 1),
        (1.0, True, 2),
        (0.0, False, 1),
    ]
    assert {row.record["end"] for row in on_the_way} == {"The work goes on."}
