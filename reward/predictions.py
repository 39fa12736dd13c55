"""Predictions against all rows of a test set: area under the ROC curve and accuracy.

Decision: a prediction that is missing, doubled, not finite or outside 0 to 1 makes the whole hand-in wrong, so that
nobody gains by predicting the easy rows only. Ties of the curve count half (Hanley and McNeil, Radiology 143:29-36).
"""

import math
from collections.abc import Mapping

from copilot.reward.values import read_number

Table = dict[str, float]
"""Probability by row name."""


def compare_predictions(labels: Mapping[str, bool], submitted: object, *, bar: float) -> tuple[bool, str]:
    """Whether the predictions rank well enough, and the figures or the first fault.

    Args:
        labels: Outcome of every row.
        submitted: Hostile JSON: an object from row to probability, or a list of ``[row, probability]``.
        bar: Smallest accepted area under the curve.
    """
    table = read_predictions(submitted)
    if isinstance(table, str):
        return False, table
    missing = sum(row not in table for row in labels)
    if missing or len(table) != len(labels):
        return False, f"{missing} of {len(labels)} rows are not predicted, {len(table) + missing - len(labels)} unknown"
    area = auroc(labels, table)
    figures = f"AUROC {area:.4f}, accuracy {accuracy(labels, table):.4f} over {len(labels)} rows; bar {bar:.4f}"
    return area >= bar, figures


def read_predictions(submitted: object) -> Table | str:
    """The predictions by row name, or what is wrong with them."""
    if isinstance(submitted, dict):
        pairs = list(submitted.items())
    elif isinstance(submitted, list) and all(isinstance(item, list) and len(item) == 2 for item in submitted):
        pairs = [(item[0], item[1]) for item in submitted]
    else:
        return "no table of rows and probabilities"
    table: Table = {}
    for row, value in pairs:
        number = read_number(value)
        if number is None or not math.isfinite(number) or not 0 <= number <= 1:
            return "a prediction is no probability"
        name = _row_name(row)
        if name is None or name in table:
            return "a row has no name or is predicted twice"
        table[name] = float(number)
    return table


def _row_name(row: object) -> str | None:
    number = read_number(row)
    if number is not None and math.isfinite(number) and number == int(number):
        return str(int(number))
    return row.strip() if isinstance(row, str) and len(row) <= 100 else None


def auroc(labels: Mapping[str, bool], table: Mapping[str, float]) -> float:
    """Share of pairs of a positive and a negative row that are ranked rightly, ties counted half.

    Raises:
        ZeroDivisionError: Only one class is there; no area exists.
    """
    order = sorted(labels, key=lambda row: table[row])
    rank_sum, start = 0.0, 0
    while start < len(order):
        stop = start
        while stop < len(order) and table[order[stop]] == table[order[start]]:
            stop += 1
        rank_sum += (start + 1 + stop) / 2 * sum(labels[row] for row in order[start:stop])
        start = stop
    positive = sum(labels.values())
    return (rank_sum - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


def accuracy(labels: Mapping[str, bool], table: Mapping[str, float]) -> float:
    """Share of rows on the right side of one half."""
    return sum((table[row] >= 0.5) == label for row, label in labels.items()) / len(labels)
