"""A leaderboard: models on suites, K attempts per task, from their trajectories alone.

Rates are means over tasks with bootstrap intervals over tasks (attempts at one task are not independent); pairs of
models are compared on the tasks both finished, corrected for the number of pairs. Masked episodes are counted and left
out. Cost is what the tokens would cost at the prices given, ``None`` without a price.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from copilot.data.trajectory import Trajectory
from copilot.errors import DataError
from copilot.evaluation.bootstrap import over_tasks
from copilot.evaluation.pass_at_k import pass_at_k
from copilot.evaluation.permutation import holm, sign_flip_p
from copilot.evaluation.summary import error_type


@dataclass(frozen=True)
class Price:
    """What a model's tokens cost, in US dollars per million."""

    prompt: float
    """Tokens shown."""
    completion: float
    """Tokens sampled."""


@dataclass(frozen=True)
class Entry:
    """One model on one suite."""

    model: str
    """Name in the table."""
    suite: str
    """Name of the suite."""
    protocol: str
    """Wire protocol it was played with."""
    trajectories: Sequence[Trajectory]
    """All its episodes."""
    price: Price | None = None
    """Of its tokens."""


def leaderboard(entries: Sequence[Entry], *, k: int, seed: int = 0) -> dict[str, Any]:
    """All rows and comparisons.

    Args:
        entries: Each model on each suite.
        k: Attempts per task that were asked for.
        seed: Of resamples.

    Returns:
        JSON: ``k``, ``rows`` (see :func:`row`), ``pairs`` (``suite``, ``better``, ``worse``, ``points``, ``low``,
        ``high``, ``tasks``, ``p``, ``p_adjusted``).

    Raises:
        DataError: An entry without a single finished episode.
    """
    rows = [row(entry, k=k, seed=seed) for entry in entries]
    suites = list(dict.fromkeys(entry.suite for entry in entries))
    pairs = [pair for suite in suites for pair in _pairs([e for e in entries if e.suite == suite], seed)]
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_adjusted"] = adjusted
    return {"k": k, "rows": sorted(rows, key=lambda r: (r["suite"], -r["submitted"]["value"])), "pairs": pairs}


def row(entry: Entry, *, k: int, seed: int = 0) -> dict[str, Any]:
    """A line of the table: rates with intervals (shares), tokens and cost per episode, what became of the episodes."""
    done = [t for t in entry.trajectories if not t.masked]
    if not done:
        raise DataError(
            f"{entry.model} finished no episode of {entry.suite}: all {len(entry.trajectories)} are masked",
            remedy="look at the logs in its run folder, then run the same command again",
        )
    prompt = sum(turn.prompt_tokens for t in done for turn in t.turns) / len(done)
    completion = sum(turn.completion_tokens for t in done for turn in t.turns) / len(done)
    return {
        "model": entry.model,
        "suite": entry.suite,
        "protocol": entry.protocol,
        "episodes": len(done),
        "masked": len(entry.trajectories) - len(done),
        "submitted": over_tasks([list(_by_task(done, _submitted).values())], seed=seed).as_dict(),
        "any_attempt": over_tasks([list(_by_task(done, _any_attempt).values())], seed=seed).as_dict(),
        "pass_at": _pass_curve(done, k),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost": (prompt * entry.price.prompt + completion * entry.price.completion) / 1e6 if entry.price else None,
        "seconds": sum(t.seconds for t in done) / len(done),
        "errors": dict(Counter(error_type(t) for t in done)),
    }


def _submitted(trajectory: Trajectory) -> bool:
    return trajectory.success("submitted")


def _any_attempt(trajectory: Trajectory) -> bool:
    return trajectory.success("any_attempt")


def _attempts(done: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    tasks: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in done:
        tasks[trajectory.task_id].append(trajectory)
    return tasks


def _by_task(done: Sequence[Trajectory], right: Callable[[Trajectory], bool]) -> dict[str, float]:
    """Share of right attempts by task."""
    return {task: sum(map(right, attempts)) / len(attempts) for task, attempts in _attempts(done).items()}


def _pass_curve(done: Sequence[Trajectory], k: int) -> dict[int, float]:
    """Pass@1..k over the tasks with at least that many attempts; sizes no task reaches are left out."""
    counts = [(len(attempts), sum(map(_submitted, attempts))) for attempts in _attempts(done).values()]
    found = {}
    for size in range(1, k + 1):
        values = [pass_at_k(n, c, size) for n, c in counts if n >= size]
        if values:
            found[size] = sum(values) / len(values)
    return found


def _pairs(entries: Sequence[Entry], seed: int) -> list[dict[str, Any]]:
    """Every two models of a suite, the better one first."""
    rates: Mapping[str, dict[str, float]] = {
        e.model: _by_task([t for t in e.trajectories if not t.masked], _submitted) for e in entries
    }
    return [_pair(entries[0].suite, *names, rates, seed) for names in combinations(rates, 2)]


def _pair(suite: str, one: str, two: str, rates: Mapping[str, Mapping[str, float]], seed: int) -> dict[str, Any]:
    shared = sorted(rates[one].keys() & rates[two].keys())
    if not shared:
        raise DataError(f"{one} and {two} share no task of {suite}", remedy="run both on the same suite and split")
    mean = {name: sum(rates[name][task] for task in shared) / len(shared) for name in (one, two)}
    better, worse = (one, two) if mean[one] >= mean[two] else (two, one)
    differences = [rates[better][task] - rates[worse][task] for task in shared]
    lift = over_tasks([differences], seed=seed)
    return {
        "suite": suite,
        "better": better,
        "worse": worse,
        "points": 100 * lift.value,
        "low": 100 * lift.low,
        "high": 100 * lift.high,
        "tasks": len(shared),
        "p": sign_flip_p(differences, seed=seed),
    }
