"""``paper`` mode of an evaluation: the same episodes by the published checks, faults included, for comparison.

The paper's environment grades what each executed program printed and ends the episode at the first output that passes,
so an episode counts when any of its code turns passes. Outputs are those the policy was shown, at their capped length.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from copilot.data.trajectory import Trajectory
from copilot.envs.sources.base import get_source, source_names
from copilot.envs.task import Task
from copilot.reward.paper import RULES, PaperRule, Printed, paper_score


def paper_rates(trajectories: Iterable[Trajectory], tasks: Mapping[str, Task]) -> dict[str, dict[str, Any]]:
    """Success by the published rule, per source that the paper has: ``rule``, ``rate`` in percent, ``total``.

    Args:
        trajectories: Of one policy.
        tasks: By id; episodes of others are left out.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for trajectory in trajectories:
        rule = rule_of(trajectory.source)
        if rule is not None and not trajectory.masked and trajectory.task_id in tasks:
            scores[trajectory.source].append(_episode_score(rule, trajectory, tasks[trajectory.task_id]))
    return {
        source: {"rule": str(rule_of(source)), "rate": round(100 * sum(found) / len(found), 2), "total": len(found)}
        for source, found in sorted(scores.items())
    }


def rule_of(source: str) -> PaperRule | None:
    """The published rule of a source; ``None``: it is none of the paper's."""
    return RULES.get(get_source(source).paper_row) if source in source_names() else None


def _episode_score(rule: PaperRule, trajectory: Trajectory, task: Task) -> float:
    outputs = (
        Printed(output=turn.feedback.text, failed=turn.failed)
        for turn in trajectory.turns
        if turn.action.type == "execute_code"
    )
    return max((paper_score(rule, task.reference.answer, printed) for printed in outputs), default=0.0)
