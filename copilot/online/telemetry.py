"""What a step tells: one flat record in ``steps.jsonl`` and the run's metrics, one line on the terminal.

``steps.jsonl`` has exactly one record per step, in order, also after any number of kills.
"""

import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import mean, pstdev

import rich
import torch

from copilot.online.episodes import Choice, Episode, Group
from copilot.stages.base import StageContext

Figures = dict[str, float]


class Clock:
    """Seconds by phase of a step."""

    def __init__(self) -> None:
        self.seconds: Figures = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the block's wall time as ``name``."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def rollout_figures(groups: Sequence[Group], choice: Choice, *, version: int) -> Figures:
    """What was sampled for a step and what it earned: replaced groups too, or the means would hide what is solved.

    Masked episodes are counted and left out of every mean.
    """
    episodes = [episode for group in groups for episode in group.episodes]
    scored = [episode for episode in episodes if not episode.mask]
    deviations = [pstdev(rewards) for g in groups if len(rewards := [e.reward for e in g.episodes if not e.mask]) > 1]
    trained = [e for group in groups if group.index in choice.taken for e in group.episodes]
    versions = [v for e in trained for row in e.rows for v in row.versions_N.tolist()]
    figures = {
        "reward": _mean([e.reward for e in scored]),
        "reward_std_in_group": _mean(deviations),
        "solved": _mean([float(e.solved) for e in scored]),
        "turns": _mean([float(e.turns) for e in scored]),
        "sampled_tokens": float(sum(e.tokens for e in episodes)),
        "groups": float(len(choice.taken)),
        "groups_flat": float(len(choice.flat)),
        "groups_stale": float(len(choice.stale)),
        "groups_flat_kept": float(sum(group.flat for group in groups if group.index in choice.taken)),
        "episodes": float(len(episodes)),
        "staleness": version - _mean([float(v) for v in versions]) if versions else 0.0,
        "staleness_max": float(version - min(versions, default=version)),
    }
    for name in ("infrastructure", "no reward", "over-long", "too many tokens", "nothing sampled"):
        figures[f"masked/{name}"] = float(sum(e.mask == name for e in episodes))
    for term in sorted({name for e in scored for name in e.terms}):
        figures[f"reward/{term}"] = _mean([e.terms[term] for e in scored if term in e.terms])
    for source in sorted({e.source for e in scored}):
        figures[f"solved/{source}"] = _mean([float(e.solved) for e in scored if e.source == source])
    return figures


def machine_figures(clock: Clock, figures: Figures) -> Figures:
    """Seconds and tokens per second by phase, memory in GiB."""
    found = {f"seconds/{name}": seconds for name, seconds in clock.seconds.items()}
    if clock.seconds.get("rollout"):
        found["tokens_per_second/rollout"] = figures.get("sampled_tokens", 0.0) / clock.seconds["rollout"]
    if clock.seconds.get("update"):
        found["tokens_per_second/update"] = figures.get("row_tokens", 0.0) / clock.seconds["update"]
    found["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if torch.cuda.is_available():
        found["device_memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def record(ctx: StageContext, step: int, steps: int, figures: Figures) -> None:
    """Write a step's record (rank 0) and say a line."""
    if not ctx.is_main:
        return
    rounded = {name: float(f"{value:.6g}") for name, value in figures.items()}
    with open(ctx.folder / "steps.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **rounded}) + "\n")
    ctx.log(step=step, **rounded)
    shown = ("reward", "solved", "loss", "kl", "entropy", "explained_variance", "staleness")
    said = ", ".join(f"{name} {figures[name]:.3f}" for name in shown if name in figures)
    rich.print(f"{ctx.stage_id or 'online'} step {step}/{steps}: {said}, {sum_of(figures, 'seconds/'):.0f} s")


def report_unsolved(ctx: StageContext, kinds: Sequence[str]) -> None:
    """Name the kinds of question that no rollout of the stage was right on."""
    if kinds and ctx.is_main:
        rich.print(
            f"{ctx.stage_id or 'online'}: never right in rollouts: {', '.join(kinds)}. They earn nothing, so what "
            "does earn overwrites them: try a lower rollout.sampling.temperature, or leave them out"
        )


def sum_of(figures: Figures, prefix: str) -> float:
    """Sum of all figures whose names begin with ``prefix``."""
    return sum(value for name, value in figures.items() if name.startswith(prefix))


def success_by_task(episodes: Sequence[Episode]) -> Figures:
    """Share of solved episodes of each task, masked ones left out."""
    tasks: dict[str, list[bool]] = {}
    for episode in episodes:
        if not episode.mask:
            tasks.setdefault(episode.task_id, []).append(episode.solved)
    return {task: mean(solved) for task, solved in tasks.items()}


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else 0.0
