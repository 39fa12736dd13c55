"""What a verifier is worth on held-out tasks: Best@K against Pass@K and the majority vote, ranking, calibration.

Every figure is a mean over tasks with a bootstrap interval over tasks; learned score, hybrid and majority vote are rows
of their own, for all tasks, per source and per split (a split of unseen templates is the out-of-distribution one).
Tasks with fewer than K attempts are left out and counted, never padded.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from copilot.errors import DataError
from copilot.evaluation.bootstrap import Interval, over_tasks
from copilot.verifier.calibration import expected_calibration_error, reliability
from copilot.verifier.candidates import TaskGroup
from copilot.verifier.discrimination import auprc, task_aucs
from copilot.verifier.selection import best_at_k, closed_form, pass_rate, usable

Array = NDArray[np.float64]


def verification(groups: Sequence[TaskGroup], *, k: int, seed: int = 0) -> dict[str, Any]:
    """All figures of one verifier on one policy's attempts.

    Args:
        groups: Scored attempts by task.
        k: Attempts per task; tasks with fewer are left out.
        seed: Of subsets and resamples.

    Returns:
        JSON: ``k``, ``tasks``, ``left_out``, ``overall``, ``by_source``, ``by_split`` (each of :func:`figures`) and
        ``curves`` (``pass`` and every selector: k -> mean).

    Raises:
        DataError: No task has ``k`` attempts, or none has mixed outcomes; with counts.
    """
    whole = [group for group in groups if len(group.candidates) >= k]
    if not whole:
        most = max(len(group.candidates) for group in groups)
        raise DataError(
            f"none of {len(groups)} tasks has {k} attempts (at most {most})", remedy=f"sample {k} attempts, or lower k"
        )
    return {
        "k": k,
        "tasks": len(whole),
        "left_out": len(groups) - len(whole),
        "overall": figures(whole, k=k, seed=seed),
        "by_source": _by(whole, lambda group: group.source, k, seed),
        "by_split": _by(whole, lambda group: group.split, k, seed),
        "curves": curves(whole, k=k, seed=seed),
    }


def figures(groups: Sequence[TaskGroup], *, k: int, seed: int = 0) -> dict[str, Any]:
    """Figures of some tasks; intervals as ``{"value", "low", "high", "tasks"}``, ``None`` where there is none.

    Raises:
        DataError: No task has both right and wrong attempts.
    """
    one = [pass_rate(group, 1) for group in groups]
    some = [pass_rate(group, k) for group in groups]
    best = {name: [best_at_k(g, k, s, seed=seed) for g in groups] for name, s in usable(groups).items()}
    scores = [c.score for group in groups for c in group.candidates]
    correct = [right for group in groups for right in group.correct]
    aucs = task_aucs(groups)
    return {
        "attempts": len(scores),
        "mixed_tasks": len(aucs),
        "pass_at_1": over_tasks([one], seed=seed).as_dict(),
        "pass_at_k": over_tasks([some], seed=seed).as_dict(),
        "selectors": {
            name: {
                "best_at_k": over_tasks([values], seed=seed).as_dict(),
                "minus_majority": over_tasks([values, best["majority"]], _difference, seed=seed).as_dict(),
                "headroom_captured": _headroom(one, some, values, seed),
            }
            for name, values in best.items()
        },
        "within_task_auc": over_tasks([aucs], seed=seed).as_dict(),
        "auprc": auprc(scores, correct),
        "base_rate": sum(correct) / len(correct),
        "ece": expected_calibration_error(scores, correct),
        "reliability": [vars(b) for b in reliability(scores, correct)],
    }


def curves(groups: Sequence[TaskGroup], *, k: int, seed: int = 0) -> dict[str, dict[int, float]]:
    """Means over tasks against the number of attempts: all of 1..k in closed form, powers of two for votes."""
    powers = sorted({2**i for i in range(k.bit_length()) if 2**i <= k} | {k})
    found = {"pass": {size: _mean([pass_rate(g, size) for g in groups]) for size in range(1, k + 1)}}
    for name, selector in usable(groups).items():
        sizes = range(1, k + 1) if closed_form(selector) else powers
        found[name] = {size: _mean([best_at_k(g, size, selector, seed=seed) for g in groups]) for size in sizes}
    return found


def summary(found: dict[str, Any], *, by: str = "learned") -> dict[str, float]:
    """The promised figures, flat: Best@K as chosen ``by`` a selector, those of the others beside it by their names.

    Raises:
        DataError: These attempts cannot be chosen from in that way.
    """
    overall, k = found["overall"], found["k"]
    if by not in overall["selectors"]:
        raise DataError(
            f"attempts cannot be chosen by {by!r} here, only by {', '.join(overall['selectors'])}",
            remedy="likelihood needs log-probabilities: sample with vllm or transformers, or set by: learned",
        )
    flat: dict[str, float] = {
        "tasks": found["tasks"],
        "pass_at_1": overall["pass_at_1"]["value"],
        f"pass_at_{k}": overall["pass_at_k"]["value"],
        "within_task_auc": overall["within_task_auc"]["value"],
        "auprc": overall["auprc"],
        "ece": overall["ece"],
    }
    for name, row in overall["selectors"].items():
        prefix = "" if name == by else f"{name}_"
        flat[f"{prefix}best_at_{k}"] = row["best_at_k"]["value"]
        if row["headroom_captured"] is not None:
            flat[f"{prefix}headroom_captured_at_{k}"] = row["headroom_captured"]["value"]
        if name != "majority":
            flat[f"{prefix}best_minus_majority"] = row["minus_majority"]["value"]
            flat[f"{prefix}best_minus_majority_ci_low"] = row["minus_majority"]["low"]
    return flat


def _by(groups: Sequence[TaskGroup], key: Callable[[TaskGroup], str], k: int, seed: int) -> dict[str, Any]:
    """Figures per part; parts without a task of mixed outcomes have none, and say so."""
    parts: dict[str, list[TaskGroup]] = defaultdict(list)
    for group in groups:
        parts[key(group)].append(group)
    return {
        name: figures(part, k=k, seed=seed) if any(g.mixed for g in part) else {"tasks": len(part), "mixed_tasks": 0}
        for name, part in sorted(parts.items())
    }


def _difference(means: Array) -> Array:
    return means[:, 0] - means[:, 1]


def _headroom(one: list[float], some: list[float], best: list[float], seed: int) -> dict[str, float | int] | None:
    """(Best@K - Pass@1) / (Pass@K - Pass@1); ``None`` when more attempts never help."""

    def captured(means: Array) -> Array:
        room = means[:, 1] - means[:, 0]
        return np.divide(means[:, 2] - means[:, 0], room, out=np.full_like(room, np.nan), where=room > 1e-12)

    found: Interval = over_tasks([one, some, best], captured, seed=seed)
    return None if np.isnan(found.value) else found.as_dict()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
