"""SFT rows: the recorded ids as they are, labels on sampled tokens only.

Nothing is rendered or tokenised again. A trajectory whose prompt was re-rendered on the way (a fork) gives one row per
token row; each turn is trained once. What follows the last trained token is cut off: it has no loss.
"""

from collections.abc import Sequence

from copilot.data.rows import Built, Ref, Row, Sample, fit
from copilot.data.trajectory import TokenRow

IGNORED = -100
"""Label of tokens without a loss."""


def build_sft(samples: Sequence[Sample], *, mask_errors: bool = False, max_tokens: int | None = None) -> Built:
    """One row per token row: ``input_ids``, ``labels``, ``task_id``, ``attempt``.

    Args:
        samples: Trajectories, filtered.
        mask_errors: Give no loss to turns whose action was invalid or did not run through.
        max_tokens: Drop longer rows; nothing is ever truncated.
    """
    built, reasons, rows = Built(), dict[Ref, str](), list[Row]()
    for sample in samples:
        turns = sample.trajectory.turns
        untrained = {turn.index for turn in turns if turn.failed} if mask_errors else set()
        for token_row in sample.trajectory.rows:
            labels = _labels(token_row, untrained)
            if labels:
                rows.append(_row(sample, token_row, labels))
            else:
                built.rows_dropped["nothing to train"] += 1
                reasons[sample.ref] = "nothing to train"
    built.rows, too_long = fit(rows, max_tokens, built.rows_dropped)
    built.settle(samples, reasons | too_long, otherwise="no token ids")
    return built


def _labels(row: TokenRow, untrained: set[int]) -> list[int]:
    """Labels up to the last trained token; empty when there is none."""
    spans = [span for span in row.spans if span.turn not in untrained and span.end > span.start]
    labels = [IGNORED] * max((span.end for span in spans), default=0)
    for span in spans:
        labels[span.start : span.end] = row.ids[span.start : span.end]
    return labels


def _row(sample: Sample, row: TokenRow, labels: list[int]) -> Row:
    trajectory = sample.trajectory
    return Row(
        record={
            "input_ids": list(row.ids[: len(labels)]),
            "labels": labels,
            "task_id": trajectory.task_id,
            "attempt": trajectory.attempt,
        },
        parents=(sample.ref,),
        store=sample.store,
        source=trajectory.source,
        template=trajectory.template,
        tokens=len(labels),
        trained=sum(label != IGNORED for label in labels),
    )
