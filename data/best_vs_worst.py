"""Whole-trajectory DPO pairs: of K attempts at a task, a right one against a wrong one.

The best right attempt meets the worst wrong one, the second best the second worst, and so on. Best is what a verifier
scores highest (the paper's pairs, arXiv 2506.04405, are the best-scored right against the lowest-scored wrong attempt);
without scores, what has fewest failed turns, then fewest sampled tokens. Both sides of a pair start from the very same
prompt ids.
"""

from collections import Counter
from collections.abc import Sequence

from copilot.data.pairs import Side, pair_row
from copilot.data.rows import Ref, Row, Sample
from copilot.data.trajectory import SuccessRule
from copilot.data.whole import WholeTrajectory, whole


def best_vs_worst(
    attempts: Sequence[Sample], success: SuccessRule, rows_dropped: Counter[str], reasons: dict[Ref, str]
) -> list[Row]:
    """The pairs of one task, best first.

    Args:
        attempts: All trajectories of one task.
        success: Which success rate tells right from wrong.
        rows_dropped: Counts attempts that found no partner, by reason.
        reasons: Filled for those attempts.
    """

    def leave(sample: Sample, reason: str) -> None:
        rows_dropped[f"best_vs_worst: {reason}"] += 1
        reasons[sample.ref] = reason

    groups: dict[tuple[int, ...], list[WholeTrajectory]] = {}
    for sample in attempts:
        piece = whole(sample)
        if isinstance(piece, str):
            leave(sample, piece)
        else:
            groups.setdefault(piece.prompt_ids, []).append(piece)
    outcomes = {sample.trajectory.success(success) for sample in attempts}
    alone = "prompt mismatch" if len(outcomes) == 2 and len(groups) > 1 else "no counterpart"
    rows: list[Row] = []
    for prompt_ids, pieces in groups.items():
        right, wrong = _ranked(pieces, success)
        rows += [
            pair_row("best_vs_worst", prompt_ids, _side(good), _side(bad))
            for good, bad in zip(right, wrong, strict=False)
        ]
        paired = min(len(right), len(wrong))
        for piece in [*right[paired:], *wrong[paired:]]:
            leave(piece.sample, "more of its kind than counterparts" if paired else alone)
    return rows


def _ranked(pieces: list[WholeTrajectory], success: SuccessRule) -> tuple[list[WholeTrajectory], list[WholeTrajectory]]:
    ordered = sorted(pieces, key=_clumsiness)
    right = [piece for piece in ordered if piece.sample.trajectory.success(success)]
    wrong = [piece for piece in reversed(ordered) if not piece.sample.trajectory.success(success)]
    return right, wrong


def _clumsiness(piece: WholeTrajectory) -> tuple[float, int, int, Ref]:
    """Lower is better. Either all samples of a build are scored or none is."""
    failed = sum(turn.failed for turn in piece.sample.trajectory.turns)
    return -(piece.sample.score or 0.0), failed, sum(piece.completion_mask), piece.sample.ref


def _side(piece: WholeTrajectory) -> Side:
    return Side(piece.sample, piece.completion_ids, piece.completion_mask)
