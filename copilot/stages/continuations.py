"""Stage ``continuations``: labels for single turns, by playing on from each of them several times.

Costly: turns times ``repeats`` episodes. What is played already is not played again.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from copilot.data.trajectory import SuccessRule
from copilot.policy.config import PolicyConfig, VllmConfig
from copilot.rollout.config import RolloutConfig
from copilot.rollout.selection import TaskSelection, gather_tasks
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids

if TYPE_CHECKING:
    from copilot.verifier.continuations import Key, Spot


class ContinuationsConfig(StageConfig, TaskSelection):
    """Play on from every turn of recorded episodes."""

    type: Literal["continuations"] = "continuations"
    """This stage."""
    trajectories: str
    """``sample`` stage whose episodes are continued; the tasks named here are those it played."""
    policy: PolicyConfig = Field(default_factory=VllmConfig)
    """Who plays on."""
    adapter: str = ""
    """Weights: a training stage's id, or a folder (with a ``/``); empty: the recipe's model."""
    repeats: int = Field(default=4, ge=1)
    """Continuations per turn."""
    episodes: int | None = Field(default=None, ge=1)
    """Recorded episodes to continue, at most, from the front; empty: all."""
    success: SuccessRule = "submitted"
    """Which success rate a continuation is judged by."""
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    """As the episodes were played."""

    def upstream(self) -> list[str]:
        """The episodes, and the weights; a name with a ``/`` is a folder."""
        return [self.trajectories, *stage_ids(self.adapter)]


def run(config: ContinuationsConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``turn_values.json``: store, task, attempt, turns, share of continuations that solved the task."""
    from copilot.data.dataset import write_atomically
    from copilot.data.store import finished_keys, read_trajectories
    from copilot.rollout.queue import JobQueue
    from copilot.stages.sample import check_data_use, store_address
    from copilot.verifier.continuations import plan, turn_values

    tasks = gather_tasks(config, where=config.id)
    check_data_use(config.policy, ((task.source, task.id) for task in tasks), ctx)
    recorded = sorted(read_trajectories(ctx.output(config.trajectories, "trajectories")), key=lambda t: t.key)
    known = {task.id for task in tasks}
    spots = plan([t for t in recorded if t.task_id in known][: config.episodes], repeats=config.repeats)
    folder = ctx.folder / "trajectories"

    def pending() -> list["Key"]:
        finished = finished_keys(folder)
        return [key for key in spots if key not in finished]

    queue = JobQueue(tasks, pending, rank=ctx.rank, world_size=ctx.world_size, address=store_address())
    if len(queue):
        asyncio.run(_play(config, ctx, queue, spots))
    queue.report({})
    if not ctx.is_main:
        return {}
    values = turn_values(spots, read_trajectories(folder), rule=config.success)
    records = [
        {"store": config.trajectories, "task_id": task, "attempt": attempt, "turns": turns, "value": value}
        for (task, attempt), by_turn in sorted(values.items())
        for turns, value in sorted(by_turn.items())
    ]
    path = ctx.folder / "turn_values.jsonl"
    write_atomically(path, (json.dumps(record) + "\n" for record in records))
    ctx.log(continuations=len(spots), turns_labelled=len(records))
    return {"turn_values": str(path), "trajectories": str(folder), "continuations": len(spots), "turns": len(records)}


async def _play(config: ContinuationsConfig, ctx: StageContext, queue: Any, spots: "dict[Key, Spot]") -> None:
    import torch

    from copilot.data.store import TrajectoryWriter
    from copilot.policy.factory import make_policy, resolve_weights
    from copilot.rollout.engine import run_jobs
    from copilot.verifier.continuations import Replay

    weights = resolve_weights(ctx, config.adapter)
    device = ctx.local_rank if torch.cuda.is_available() else None
    policy = make_policy(config.policy, model=weights.model, device=device, log_folder=ctx.folder / "logs")
    adapter = config.id if weights.adapter else None
    concurrency = min(config.rollout.concurrency, max(queue.share(), 1))
    try:
        await policy.start()
        if adapter and weights.adapter:
            await policy.load_adapter(adapter, weights.adapter)
        with TrajectoryWriter(ctx.folder / "trajectories" / f"rank{ctx.rank}.jsonl") as writer:
            await run_jobs(
                queue,
                policy=Replay(policy, spots),
                adapter=adapter,
                label="continuation",
                config=config.rollout.model_copy(update={"concurrency": concurrency}),
                writer=writer,
                seed=ctx.seed,
                total=len(queue),
            )
    finally:
        await policy.close()


STAGE = Stage(ContinuationsConfig, run)
