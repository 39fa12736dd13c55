"""How token losses become one loss: a weight per token, fixed before any forward, by counts over *all* ranks.

With weights given, ``loss = sum(weight * token loss)`` may be split over micro-batches and ranks in any way: the
gradient is the same. ``token``: every token counts the same (DAPO, arXiv 2503.14476). ``sequence``: every row counts
the same (GRPO). ``constant``: every token counts the same whatever the others' lengths (Dr. GRPO, arXiv 2503.20783).
"""

from collections.abc import Sequence

from copilot.online.config import Aggregation


def row_weights(
    trained: Sequence[int], mode: Aggregation, *, total_tokens: int, total_rows: int, constant: int
) -> list[float]:
    """Weight of each token of each row.

    Args:
        trained: Trained tokens of these rows.
        mode: Which mean.
        total_tokens: Trained tokens of the minibatch, over all ranks.
        total_rows: Rows with trained tokens in the minibatch, over all ranks.
        constant: Tokens that a row is divided by in mode ``constant``.
    """
    if mode == "token":
        return [1 / max(1, total_tokens)] * len(trained)
    if mode == "sequence":
        return [1 / (max(1, total_rows) * max(1, tokens)) for tokens in trained]
    return [1 / (max(1, total_rows) * constant)] * len(trained)
