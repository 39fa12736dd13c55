"""KTO rows: whole trajectories, each with the one bit of whether it solved its task."""

from collections.abc import Sequence

from copilot.data.rows import Built, Ref, Row, Sample, fit
from copilot.data.trajectory import SuccessRule
from copilot.data.whole import WholeTrajectory, whole


def build_kto(samples: Sequence[Sample], *, success: SuccessRule = "submitted", max_tokens: int | None = None) -> Built:
    """One row per trajectory.

    Its fields: ``prompt_ids``, ``completion_ids``, ``completion_mask``, ``label``, ``task_id``, ``attempt``.

    Args:
        samples: Trajectories, filtered.
        success: Which of the two success rates makes a desirable row.
        max_tokens: Drop longer rows.
    """
    built, reasons, rows = Built(), dict[Ref, str](), list[Row]()
    for sample in samples:
        piece = whole(sample)
        if isinstance(piece, str):
            built.rows_dropped[piece] += 1
            reasons[sample.ref] = piece
        else:
            rows.append(_row(piece, success))
    built.rows, too_long = fit(rows, max_tokens, built.rows_dropped)
    built.settle(samples, reasons | too_long, otherwise="unused")
    return built


def _row(piece: WholeTrajectory, success: SuccessRule) -> Row:
    trajectory = piece.sample.trajectory
    return Row(
        record={
            "prompt_ids": list(piece.prompt_ids),
            "completion_ids": list(piece.completion_ids),
            "completion_mask": list(piece.completion_mask),
            "label": trajectory.success(success),
            "task_id": trajectory.task_id,
            "attempt": trajectory.attempt,
        },
        parents=(piece.sample.ref,),
        store=piece.sample.store,
        source=trajectory.source,
        template=trajectory.template,
        tokens=piece.tokens,
        trained=sum(piece.completion_mask),
        kind="desirable" if trajectory.success(success) else "undesirable",
    )
