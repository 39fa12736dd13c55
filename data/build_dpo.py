"""DPO pairs of both kinds, from all attempts at each task.

A chosen and a rejected completion always follow the very same prompt ids; masks are 1 exactly on sampled tokens, so
the environment's words inside a whole-trajectory completion have no loss.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from copilot.data.best_vs_worst import best_vs_worst
from copilot.data.pairs import PairKind
from copilot.data.rows import Built, Ref, Row, Sample, fit
from copilot.data.shared_prefix import shared_prefix
from copilot.data.trajectory import SuccessRule

Finder = Callable[[Sequence[Sample], SuccessRule, Counter[str], dict[Ref, str]], list[Row]]

FINDERS: dict[PairKind, Finder] = {"shared_prefix": shared_prefix, "best_vs_worst": best_vs_worst}
"""How the pairs of one task are found."""


def build_dpo(
    samples: Sequence[Sample],
    *,
    kinds: Sequence[PairKind] = ("shared_prefix", "best_vs_worst"),
    success: SuccessRule = "submitted",
    max_tokens: int | None = None,
) -> Built:
    """Pairs of each kind, task by task.

    Args:
        samples: Trajectories, filtered; failures are wanted here.
        kinds: Which pairs to look for.
        success: Which success rate tells right from wrong.
        max_tokens: Drop pairs whose longer side, prompt included, has more tokens.
    """
    tasks: dict[str, list[Sample]] = {}
    for sample in samples:
        tasks.setdefault(sample.trajectory.task_id, []).append(sample)
    built, reasons, rows = Built(), dict[Ref, str](), list[Row]()
    for attempts in tasks.values():
        for kind in kinds:
            rows += FINDERS[kind](attempts, success, built.rows_dropped, reasons)
    built.rows, too_long = fit(rows, max_tokens, built.rows_dropped)
    built.settle(samples, reasons | too_long, otherwise="no counterpart")
    return built
