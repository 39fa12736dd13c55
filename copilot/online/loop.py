"""The online loop: rollouts, rewards, advantages, packed updates, weight sync; then again.

Synchronous and overlapped are the same lines: whether rollouts go on during an update is the collector's allowance.
Invariant: a run killed at any moment goes on with the same groups and the same weights, and nothing it sampled is lost.
"""

from typing import Any

from copilot.online.config import OnlineStage
from copilot.online.probe import junk_reward
from copilot.online.session import Algorithm, Session, make_batch, open_session
from copilot.online.telemetry import Clock, machine_figures, record, report_unsolved, rollout_figures
from copilot.reward.terms import VERIFIER
from copilot.stages.base import StageContext


def run_online(config: OnlineStage, ctx: StageContext, algorithm: Algorithm) -> dict[str, Any]:
    """Train a policy on its own rollouts.

    Args:
        config: The stage.
        ctx: Its context; the result is ``ctx.folder / "weights"``.
        algorithm: GRPO or PPO.

    Returns:
        The stage's outputs: ``weights``, ``kind``, ``steps``, ``figures`` and, with a critic, ``critic``.
    """
    outputs = {
        "weights": str(ctx.folder / "weights"),
        "kind": config.training.method,
        "steps": config.steps,
        "figures": str(ctx.folder / "steps.jsonl"),
    }
    if algorithm.critic is not None:
        outputs["critic"] = str(ctx.folder / "critic")
    if (ctx.folder / "weights").is_dir():
        return outputs
    session = open_session(config, ctx, algorithm)
    try:
        while session.progress.step < config.steps:
            take_step(session)
        report_unsolved(ctx, session.curriculum.unsolved_kinds())
        session.finish()
    finally:
        session.close()
    return outputs


def take_step(session: Session) -> None:
    """One step: what is sampled is scored, valued, trained on and pushed back to the server."""
    clock, step, version = Clock(), session.progress.step + 1, session.progress.step
    with clock.phase("rollout"):
        groups, played, choice = session.next_groups()
    batch = make_batch(groups)
    mine = session.updater.share(batch.rows)
    figures = rollout_figures(played, choice, version=version) | {"row_tokens": float(sum(map(len, batch.rows)))}
    with clock.phase("estimate"):
        fitted = session.updater.fitted(step)
        figures |= session.algorithm.estimate(batch, mine, session.model, session.ranks, fitted)
    with clock.phase("update"):
        figures |= session.updater.run(step, batch.rows, mine)
    with clock.phase("sync"):
        session.advance(played)
    figures["kinds_unsolved"] = float(len(session.curriculum.unsolved_kinds()))
    figures |= _probe(session, [group.task_id for group in groups], figures["reward"])
    record(session.ctx, step, session.config.steps, figures | machine_figures(clock, figures))
    session.save()


def _probe(session: Session, task_ids: list[str], reward: float) -> dict[str, float]:
    """What junk would have earned on the step's tasks without a verifier, and as a share of what the policy earned."""
    weights = {name: weight for name, weight in session.config.rewards.items() if name != VERIFIER}
    junk = junk_reward([session.tasks[task] for task in task_ids], weights)
    return {"junk_reward": junk, "junk_share": junk / reward if reward > 0 else 0.0}
