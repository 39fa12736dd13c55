"""Stage ``sample``: a policy plays tasks in the real environment; every finished episode is on disk at once.

All ranks pull from one queue and write a shard each. What is already in the stage's folder is not played again, so a
killed run picks up where it stopped; episodes that infrastructure broke are played again.
"""

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from copilot.errors import EmptyDatasetError, RecipeError
from copilot.policy.config import OpenAIConfig, PolicyConfig, ReferenceConfig, VllmConfig
from copilot.rollout.config import RolloutConfig
from copilot.rollout.selection import TaskSelection, gather_tasks
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids

if TYPE_CHECKING:
    from copilot.verifier.early_stop import EarlyStop


class SampleConfig(StageConfig, TaskSelection):
    """Play tasks with a policy."""

    type: Literal["sample"] = "sample"
    """This stage."""
    policy: PolicyConfig = Field(default_factory=VllmConfig)
    """Who plays."""
    adapter: str = ""
    """Weights: a training stage's id, or a folder (with a ``/``); empty: the recipe's model."""
    attempts: int = Field(default=1, ge=1)
    """Episodes per task, K."""
    label: str = ""
    """Name of the policy in tables; empty: the adapter's, ``reference``, the API's model, or ``base``."""
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    """How episodes are played."""
    early_stop: str = ""
    """An ``early_stop`` stage's id: its verifier, in process, ends episodes with too small a chance. Empty: none."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.adapter and isinstance(self.policy, OpenAIConfig | ReferenceConfig):
            raise ValueError(f"policy type {self.policy.type!r} takes no adapter")
        return self

    def upstream(self) -> list[str]:
        """The stage whose weights are sampled from; a name with a ``/`` is a folder."""
        adapter = stage_ids(self.adapter)
        return [*adapter, *([self.early_stop] if self.early_stop else [])]

    def policy_label(self) -> str:
        """Name of the policy in tables."""
        if isinstance(self.policy, OpenAIConfig):
            return self.label or self.policy.model
        played = "reference" if isinstance(self.policy, ReferenceConfig) else "base"
        return self.label or self.adapter.rstrip("/").rpartition("/")[2] or played


def run(config: SampleConfig, ctx: StageContext) -> dict[str, Any]:
    """Play what is not played yet; returns the folder of trajectories and the figures of all of them."""
    from copilot.data.store import finished_keys
    from copilot.rollout.queue import JobQueue

    tasks = gather_tasks(config, where=config.id)
    check_data_use(config.policy, ((task.source, task.id) for task in tasks), ctx)
    folder = ctx.folder / "trajectories"
    wanted = [(task.id, attempt) for attempt in range(config.attempts) for task in tasks]

    def pending() -> list[tuple[str, int]]:
        finished = finished_keys(folder)
        return [key for key in wanted if key not in finished]

    queue = JobQueue(tasks, pending, rank=ctx.rank, world_size=ctx.world_size, address=store_address())
    played = asyncio.run(_play(config, ctx, queue)) if len(queue) else {}
    reports = queue.report(played)
    return _outputs(config, ctx, set(wanted), reports) if ctx.is_main else {}


def check_data_use(policy: PolicyConfig, tasks: Iterable[tuple[str, str]], ctx: StageContext) -> None:
    """Refuse to send credentialed data to a third party (DESIGN decision 14).

    Args:
        policy: Who would see the tasks.
        tasks: Pairs of a source and a task id.
        ctx: Knows the recipe's permission.

    Raises:
        RecipeError: Unless the recipe says ``data_use: permitted``.
    """
    from copilot.envs.data_use import closed_sources

    if not isinstance(policy, OpenAIConfig) or not policy.third_party or ctx.data_use == "permitted":
        return
    closed = closed_sources(tasks)
    if closed:
        raise RecipeError(
            f"credentialed data ({', '.join(closed)}) would be sent to a third party, {policy.url}",
            where=ctx.stage_id,
            remedy="play it with a model of your own, or set data_use: permitted and data_use_reason in the recipe",
        )


async def _play(config: SampleConfig, ctx: StageContext, queue: Any) -> dict[str, Any]:
    """This rank's part; its figures."""
    import torch

    from copilot.data.store import TrajectoryWriter
    from copilot.policy.factory import make_policy, resolve_weights
    from copilot.rollout.engine import run_jobs

    weights = resolve_weights(ctx, config.adapter)
    device = ctx.local_rank if torch.cuda.is_available() else None
    logs = ctx.folder / "logs" / f"rank{ctx.rank}"
    policy = make_policy(config.policy, model=weights.model, device=device, log_folder=logs)
    # No rank takes more than its share into flight at once, so a small run is spread over all of them.
    concurrency = min(config.rollout.concurrency, max(queue.share(), 1))
    adapter = config.policy_label() if weights.adapter else None
    hopeless = _early_stop(config, ctx)
    try:
        await policy.start()
        if adapter and weights.adapter:
            await policy.load_adapter(adapter, weights.adapter)
        if hopeless is not None:
            await hopeless.scorer.start()
        with TrajectoryWriter(ctx.folder / "trajectories" / f"rank{ctx.rank}.jsonl") as writer:
            tally = await run_jobs(
                queue,
                policy=policy,
                adapter=adapter,
                label=config.policy_label(),
                config=config.rollout.model_copy(update={"concurrency": concurrency}),
                writer=writer,
                seed=ctx.seed,
                total=len(queue),
                hopeless=hopeless,
            )
    finally:
        await policy.close()
        if hopeless is not None:
            await hopeless.scorer.close()
    return tally.as_dict()


def _early_stop(config: SampleConfig, ctx: StageContext) -> "EarlyStop | None":
    if not config.early_stop:
        return None
    from copilot.policy.config import TransformersConfig
    from copilot.verifier.early_stop import EarlyStop
    from copilot.verifier.factory import make_scorer

    folder, threshold = (ctx.output(config.early_stop, name) for name in ("verifier", "threshold"))
    return EarlyStop(make_scorer(folder, TransformersConfig(), log_folder=ctx.folder / "logs"), threshold)


def _outputs(
    config: SampleConfig, ctx: StageContext, wanted: set[tuple[str, int]], reports: list[dict[str, Any]]
) -> dict[str, Any]:
    """The figures of everything in the folder, earlier runs' part included."""
    from copilot.data.store import read_trajectories
    from copilot.rollout.engine import Tally

    folder = ctx.folder / "trajectories"
    tally = Tally()
    for trajectory in read_trajectories(folder):
        if trajectory.key in wanted:
            tally.add(trajectory)
    count = tally.episodes - tally.masked
    if not count:
        raise EmptyDatasetError(
            f"no episode came through: {dict(tally.failures)}", where=folder, remedy="look at the stage's logs"
        )
    figures = {
        "count": count,
        "masked": tally.masked,
        "tokens": tally.completion_tokens,
        "turns": tally.turns,
        "forks": tally.forks,
        "submitted_correct": tally.submitted_correct,
        "any_attempt_correct": tally.any_attempt_correct,
    }
    ctx.log(**figures, label=config.policy_label())
    by_rank = [report.get("episodes", 0) for report in reports]
    retried = sum(report.get("retried", 0) for report in reports)
    return {
        "trajectories": str(folder),
        **figures,
        "stops": dict(tally.stops),
        "retried": retried,
        "by_rank": by_rank,
        "tasks": len(wanted) // config.attempts,
        "label": config.policy_label(),
    }


def store_address() -> tuple[str, int]:
    """Where rank 0 is, as the supervisor says; a single process needs none."""
    return os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500"))


STAGE = Stage(SampleConfig, run)
