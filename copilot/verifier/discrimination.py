"""How well scores tell right from wrong: AUC within tasks, precision and recall over all attempts.

Within a task matters for choosing: a score that only knows easy tasks from hard ones has a fine pooled AUC and picks
no better than chance.
"""

from collections.abc import Sequence

import numpy as np

from copilot.verifier.candidates import TaskGroup, require_mixed


def auc(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """Chance that a right attempt scores above a wrong one, equals counting half.

    Raises:
        ValueError: Only one of the two outcomes.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=bool)
    right, wrong = s[y], s[~y]
    if not len(right) or not len(wrong):
        raise ValueError("an AUC needs right and wrong attempts")
    above = np.searchsorted(np.sort(wrong), right, side="left").sum()
    up_to = np.searchsorted(np.sort(wrong), right, side="right").sum()
    return float((above + up_to) / 2 / (len(right) * len(wrong)))


def task_aucs(groups: Sequence[TaskGroup]) -> list[float]:
    """AUC of each task with mixed outcomes.

    Raises:
        DataError: There is none.
    """
    return [auc([c.score for c in group.candidates], group.correct) for group in require_mixed(groups)]


def auprc(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """Average precision over all attempts (no interpolation); equal scores enter together.

    Raises:
        ValueError: No right attempt.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not y.any():
        raise ValueError("average precision needs a right attempt")
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = y.cumsum()[ends]
    return float((np.diff(hits, prepend=0.0) / y.sum() * hits / (ends + 1)).sum())
