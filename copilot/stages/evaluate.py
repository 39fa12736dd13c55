"""Stage ``evaluate``: several policies on the same tasks, one server for all that share full weights.

Every subject is reported with the best of its protocols; a base model that was never trained on a format gets all three
and a worked example, so that learning the format is not sold as learning medicine. Both success rates,
intervals and paired comparisons go into ``evaluation.json``.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from copilot.config import StrictModel
from copilot.envs.prompt import PromptConfig
from copilot.envs.protocols.base import ProtocolName
from copilot.policy.config import OpenAIConfig, PolicyConfig, VllmConfig
from copilot.rollout.config import RolloutConfig
from copilot.rollout.selection import TaskSelection, gather_tasks
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids
from copilot.stages.sample import check_data_use, store_address

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

    from copilot.data.trajectory import Trajectory
    from copilot.envs.task import Task
    from copilot.policy.base import Policy


class Subject(StrictModel):
    """A policy to be evaluated."""

    label: str
    """Name in tables."""
    adapter: str = ""
    """Weights: a training stage's id or a folder; empty: the recipe's model."""
    protocols: list[ProtocolName] = Field(default_factory=list)
    """Wire protocols to try; the best one is reported. Empty: the rollout's."""
    prompt: PromptConfig | None = None
    """What it is told; empty: the rollout's."""


class EvaluateConfig(StageConfig, TaskSelection):
    """Evaluate policies on tasks."""

    type: Literal["evaluate"] = "evaluate"
    """This stage."""
    policy: PolicyConfig = Field(default_factory=VllmConfig)
    """The engine."""
    subjects: list[Subject] = Field(min_length=1)
    """Who is evaluated, in the order of the tables."""
    compare: list[tuple[str, str]] = Field(default_factory=list)
    """Pairs of labels, old and new; empty: every subject against the first."""
    protocol_trials: int | None = Field(default=None, ge=1)
    """Tasks, evenly spread, on which a subject's protocols are compared before the best one plays all of them; empty:
    every protocol plays all tasks."""
    attempts: int = Field(default=1, ge=1)
    """Episodes per task."""
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    """How episodes are played; ``protocol`` and ``prompt`` are the subjects' defaults."""

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = [subject.label for subject in self.subjects]
        if len(set(labels)) < len(labels):
            raise ValueError("two subjects have the same label")
        unknown = {label for pair in self.compare for label in pair} - set(labels)
        if unknown:
            raise ValueError(f"compare names no subject: {', '.join(sorted(unknown))}")
        if isinstance(self.policy, OpenAIConfig) and any(subject.adapter for subject in self.subjects):
            raise ValueError("policy type 'openai' takes no adapter")
        return self

    def upstream(self) -> list[str]:
        """The training stages evaluated; names with a ``/`` are folders."""
        return stage_ids(*(s.adapter for s in self.subjects))

    def pairs(self) -> list[tuple[str, str]]:
        """The comparisons to make."""
        return self.compare or [(self.subjects[0].label, subject.label) for subject in self.subjects[1:]]


@dataclass(frozen=True)
class _Play:
    """One subject under one protocol."""

    subject: Subject
    rollout: RolloutConfig

    @property
    def name(self) -> str:
        """Name of its trajectory folder."""
        return f"{self.subject.label}-{self.rollout.protocol}"


def run(config: EvaluateConfig, ctx: StageContext) -> dict[str, Any]:
    """Play what is not played yet, then rank 0 writes ``evaluation.json``."""
    from copilot.rollout.queue import open_store

    tasks = gather_tasks(config, where=config.id)
    check_data_use(config.policy, ((task.source, task.id) for task in tasks), ctx)
    store = open_store(store_address(), ctx.rank, ctx.world_size)
    by_rank = asyncio.run(_play_all(config, ctx, tasks, store))
    if not ctx.is_main:
        return {}
    evaluation = _evaluation(config, ctx, tasks)
    path = ctx.folder / "evaluation.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(evaluation, indent=1), encoding="utf-8")
    os.replace(temporary, path)
    figures = {
        f"{label} {rule}": subject["overall"][rule]["rate"]
        for label, subject in evaluation["subjects"].items()
        for rule in ("submitted", "any_attempt")
    }
    ctx.log(**figures)
    return {"evaluation": str(path), "by_rank": by_rank, **figures}


def _plays(config: EvaluateConfig) -> list[_Play]:
    return [
        _Play(
            subject,
            config.rollout.model_copy(update={"protocol": protocol, "prompt": subject.prompt or config.rollout.prompt}),
        )
        for subject in config.subjects
        for protocol in subject.protocols or [config.rollout.protocol]
    ]


async def _play_all(
    config: EvaluateConfig, ctx: StageContext, tasks: Sequence["Task"], store: "Store | None"
) -> list[int]:
    """Episodes played per rank, all subjects together; a server per set of full weights, started when first needed."""
    from copilot.policy.factory import make_policy, resolve_weights

    weights = {s.label: resolve_weights(ctx, s.adapter) for s in config.subjects}
    counts = [0] * ctx.world_size
    for model in dict.fromkeys(w.model for w in weights.values()):
        policy = make_policy(config.policy, model=model, device=_device(ctx), log_folder=ctx.folder / "logs")
        started = False
        try:
            for subject in (s for s in config.subjects if weights[s.label].model == model):
                for play, part in _rounds(config, ctx, subject, tasks, store):
                    queue = _queue(config, ctx, part, play, store)
                    figures: dict[str, Any] = {}
                    if len(queue):
                        if not started:
                            await policy.start()
                            started = True
                        figures = await _play(ctx, policy, weights[subject.label].adapter, play, queue)
                    reports = queue.report(figures)
                    if ctx.is_main:
                        counts = [n + report.get("episodes", 0) for n, report in zip(counts, reports, strict=True)]
        finally:
            await policy.close()
    return counts


def _rounds(
    config: EvaluateConfig, ctx: StageContext, subject: Subject, tasks: Sequence["Task"], store: "Store | None"
) -> Iterator[tuple[_Play, Sequence["Task"]]]:
    """What a subject plays, in order: its protocols on a part of the tasks, then the best of them on all."""
    plays = [play for play in _plays(config) if play.subject is subject]
    if config.protocol_trials is None or len(plays) == 1:
        yield from ((play, tasks) for play in plays)
        return
    trials = tasks[:: max(1, len(tasks) // config.protocol_trials)]
    yield from ((play, trials) for play in plays)
    name = f"best protocol of {subject.label}"
    best = _best_on(ctx, plays, {task.id for task in trials}) if ctx.is_main else ""
    if store is not None and ctx.is_main:
        store.set(name, best)
    elif store is not None:
        best = store.get(name).decode()
    yield next(play for play in plays if play.rollout.protocol == best), tasks


def _best_on(ctx: StageContext, plays: Sequence[_Play], ids: set[str]) -> str:
    from copilot.data.store import read_trajectories
    from copilot.evaluation.summary import best_label, summarize

    return best_label(
        {
            play.rollout.protocol: summarize([t for t in read_trajectories(_folder(ctx, play)) if t.task_id in ids])
            for play in plays
        }
    )


def _queue(
    config: EvaluateConfig, ctx: StageContext, tasks: Sequence["Task"], play: _Play, store: "Store | None"
) -> Any:
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]

    from copilot.data.store import finished_keys
    from copilot.rollout.queue import JobQueue

    folder = _folder(ctx, play)

    def pending() -> list[tuple[str, int]]:
        finished = finished_keys(folder)
        wanted = [(task.id, attempt) for attempt in range(config.attempts) for task in tasks]
        return [key for key in wanted if key not in finished]

    own = PrefixStore(f"{play.name} {len(tasks)}", store) if store is not None else None
    return JobQueue(tasks, pending, rank=ctx.rank, world_size=ctx.world_size, store=own)


async def _play(ctx: StageContext, policy: "Policy", adapter: str | None, play: _Play, queue: Any) -> dict[str, Any]:
    from copilot.data.store import TrajectoryWriter
    from copilot.rollout.engine import run_jobs

    name = play.subject.label if adapter else None
    if name and adapter:
        await policy.load_adapter(name, adapter)
    with TrajectoryWriter(_folder(ctx, play) / f"rank{ctx.rank}.jsonl") as writer:
        tally = await run_jobs(
            queue,
            policy=policy,
            adapter=name,
            label=play.subject.label,
            config=play.rollout.model_copy(
                update={"concurrency": min(play.rollout.concurrency, max(queue.share(), 1))}
            ),
            writer=writer,
            seed=ctx.seed,
            total=len(queue),
        )
    if name:
        await policy.unload_adapter(name)
    return tally.as_dict()


def _evaluation(config: EvaluateConfig, ctx: StageContext, tasks: Sequence["Task"]) -> dict[str, Any]:
    """Everything the report and the tables need, as JSON."""
    from copilot.data.store import read_trajectories
    from copilot.evaluation.paper import paper_rates
    from copilot.evaluation.summary import best_label, summarize, summarize_by

    wanted = {task.id for task in tasks}
    played: dict[str, dict[str, list[Trajectory]]] = {subject.label: {} for subject in config.subjects}
    for play in _plays(config):
        episodes = [t for t in read_trajectories(_folder(ctx, play)) if t.task_id in wanted]
        played[play.subject.label][play.rollout.protocol] = sorted(episodes, key=lambda t: t.key)
    subjects, best = {}, {}
    for label, by_protocol in played.items():
        summaries = {protocol: summarize(episodes) for protocol, episodes in by_protocol.items()}
        most = max(summary["episodes"] + summary["masked"] for summary in summaries.values())
        protocol = best_label({k: s for k, s in summaries.items() if s["episodes"] + s["masked"] == most})
        best[label] = by_protocol[protocol]
        subjects[label] = {
            "protocol": protocol,
            "by_protocol": summaries,
            "overall": summaries[protocol],
            "by_split": summarize_by(best[label], lambda t: t.split),
            "by_source": summarize_by(best[label], lambda t: t.source),
            "by_category": summarize_by(best[label], lambda t: t.category),
            "paper": paper_rates(best[label], {task.id: task for task in tasks}),
        }
    return {
        "model": config.policy.model if isinstance(config.policy, OpenAIConfig) else Path(ctx.model.path).name,
        "tasks": len(tasks),
        "attempts": config.attempts,
        "subjects": subjects,
        "comparisons": [_comparison(old, new, best) for old, new in config.pairs()],
        "samples": list(_samples(best)),
    }


def _comparison(old: str, new: str, best: dict[str, list["Trajectory"]]) -> dict[str, Any]:
    from copilot.evaluation.summary import compare, lift_record, spoke_protocol

    splits = sorted({t.split for t in best[old]})
    spoke = {t.key for t in best[old] if spoke_protocol(t)}
    return {
        "old": old,
        "new": new,
        "overall": lift_record(compare(best[old], best[new])),
        "by_split": {
            split: lift_record(compare(*([t for t in best[label] if t.split == split] for label in (old, new))))
            for split in splits
        },
        "spoke_protocol": lift_record(compare([t for t in best[old] if t.key in spoke], best[new])),
    }


def _samples(best: dict[str, list["Trajectory"]]) -> Iterator[dict[str, Any]]:
    """For every subject a solved and an unsolved episode of each source, to be read by people."""
    from copilot.report.page import sample_record

    for episodes in best.values():
        shown: set[tuple[str, bool]] = set()
        for trajectory in episodes:
            kind = (trajectory.source, trajectory.outcome.submitted_correct)
            if kind not in shown and not trajectory.masked:
                shown.add(kind)
                yield sample_record(trajectory)


def _folder(ctx: StageContext, play: _Play) -> Path:
    return ctx.folder / "trajectories" / play.name


def _device(ctx: StageContext) -> int | None:
    import torch

    return ctx.local_rank if torch.cuda.is_available() else None


STAGE = Stage(EvaluateConfig, run)
