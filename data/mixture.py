"""Which rows are taken: caps per task and template, shares of stores, and a limit, all seeded and counted.

Decision: a limit and a share take rows in turn from every question template, so that what is rare stays represented;
within a task the builder's order is the order of preference.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from copilot.data.rows import Ref, Row


@dataclass
class Selection:
    """What was taken, and why the rest was not."""

    rows: list[Row]
    """Taken, in the order given."""
    rows_dropped: Counter[str]
    """How many rows were left, by reason."""
    reasons: dict[Ref, str]
    """For the parents of rows that were left."""

    def keep(self, taken: Iterable[int], reason: str) -> None:
        """Leave all rows but those at the positions ``taken``."""
        positions = set(taken)
        left = [row for i, row in enumerate(self.rows) if i not in positions]
        self.rows = [row for i, row in enumerate(self.rows) if i in positions]
        self.reasons |= {ref: reason for row in left for ref in row.parents}
        if left:
            self.rows_dropped[reason] += len(left)


def select(
    rows: Sequence[Row],
    *,
    shares: Mapping[str, float] | None = None,
    max_per_task: int | None = None,
    max_per_template: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Selection:
    """Take rows.

    Args:
        rows: From a builder.
        shares: Share of each store among the rows taken, adding up to 1 (the scarcest store sets the size); ``None``:
            as they come.
        max_per_task: At most so many rows of a task, the builder's first ones.
        max_per_template: At most so many rows of a question template, drawn at random.
        limit: At most so many rows in all, balanced over templates.
        seed: Of the draws.
    """
    picked = Selection(list(rows), Counter(), {})
    if max_per_task is not None:
        picked.keep(_first(picked.rows, max_per_task, lambda row: (row.store, row.source, row.task_id)), "max per task")
    if max_per_template is not None:
        order = _shuffled(picked.rows, seed, "template")
        chosen = _first([picked.rows[i] for i in order], max_per_template, lambda row: (row.source, row.template))
        picked.keep((order[i] for i in chosen), "max per template")
    if shares is not None:
        picked.keep(_shared(picked.rows, shares, limit, seed), "share")
    if limit is not None:
        picked.keep(_balanced(picked.rows, limit, seed), "limit")
    return picked


def _first(rows: Sequence[Row], count: int, key: Callable[[Row], Hashable]) -> list[int]:
    seen: Counter[Hashable] = Counter()
    taken = []
    for position, row in enumerate(rows):
        seen[key(row)] += 1
        if seen[key(row)] <= count:
            taken.append(position)
    return taken


def _shuffled(rows: Sequence[Row], seed: int, purpose: str) -> list[int]:
    order = list(range(len(rows)))
    random.Random(f"{seed}/{purpose}").shuffle(order)
    return order


def _balanced(rows: Sequence[Row], count: int, seed: int) -> list[int]:
    """Positions of ``count`` rows, taken in turn from every template."""
    templates: dict[Hashable, list[int]] = defaultdict(list)
    for position in _shuffled(rows, seed, "limit"):
        templates[rows[position].source, rows[position].template].append(position)
    turns = [(rank, order) for order, group in enumerate(templates.values()) for rank in range(len(group))]
    groups = list(templates.values())
    return [groups[order][rank] for rank, order in sorted(turns)[:count]]


def _shared(rows: Sequence[Row], shares: Mapping[str, float], limit: int | None, seed: int) -> list[int]:
    """Positions such that every store has its share of the whole, which is as large as the scarcest store allows."""
    stores = {name: [i for i, row in enumerate(rows) if row.store == name] for name in shares}
    total = min(len(stores[name]) / share for name, share in shares.items())
    total = total if limit is None else min(total, limit)
    taken = []
    for name, share in shares.items():
        group = [rows[i] for i in stores[name]]
        taken += [stores[name][i] for i in _balanced(group, int(total * share + 1e-9), seed)]
    return taken
