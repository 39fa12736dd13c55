"""A DPO pair: two completions after the very same prompt ids. The two builders of pairs share this record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from copilot.data.rows import Row, Sample

PairKind = Literal["shared_prefix", "best_vs_worst"]
"""How a pair is found; see :mod:`copilot.data.shared_prefix` and :mod:`copilot.data.best_vs_worst`."""


@dataclass(frozen=True)
class Side:
    """One completion of a pair."""

    sample: Sample
    """Whose it is."""
    ids: tuple[int, ...]
    """Token ids after the prompt."""
    mask: tuple[int, ...]
    """1 exactly on sampled tokens."""


def pair_row(kind: PairKind, prompt_ids: Sequence[int], chosen: Side, rejected: Side) -> Row:
    """The row of a pair.

    Its fields: ``prompt_ids``, ``chosen_ids``, ``chosen_mask``, ``rejected_ids``, ``rejected_mask``, ``task_id``,
    ``kind``.
    """
    trajectory = rejected.sample.trajectory
    return Row(
        record={
            "prompt_ids": list(prompt_ids),
            "chosen_ids": list(chosen.ids),
            "chosen_mask": list(chosen.mask),
            "rejected_ids": list(rejected.ids),
            "rejected_mask": list(rejected.mask),
            "task_id": trajectory.task_id,
            "kind": kind,
        },
        parents=tuple(dict.fromkeys((chosen.sample.ref, rejected.sample.ref))),
        store=rejected.sample.store,
        source=trajectory.source,
        template=trajectory.template,
        tokens=len(prompt_ids) + max(len(chosen.ids), len(rejected.ids)),
        trained=sum(chosen.mask) + sum(rejected.mask),
        kind=kind,
    )
