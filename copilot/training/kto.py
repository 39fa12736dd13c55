"""Kahneman-Tversky optimisation on single labelled completions (arXiv 2402.01306), sampled tokens only.

The loss's reference point is a KL estimated on mismatched pairs: each row's prompt with another row's completion.
TRL pairs within a micro-batch; here the partner is fixed per row (the next one in a shuffle of the rows), so that the
reference can be computed once and the pairing does not depend on the number of processes.
"""

from typing import Any

import numpy as np
from datasets import Dataset
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from copilot.errors import EmptyDatasetError
from copilot.training.collators import KtoCollator
from copilot.training.config import KtoSettings
from copilot.training.dpo import drop_reference_adapter
from copilot.training.loop import Method, PlannedTrainer, Session
from copilot.training.reference import session_reference
from copilot.training.rows import Row

SIDES = (("completion_ids", "completion_mask"), ("other_ids", "other_mask"))
COLUMNS = ("prompt_ids", "completion_ids", "completion_mask", "other_ids", "other_mask", "label")


class PlannedKto(PlannedTrainer, KTOTrainer):
    """KTOTrainer over planned rows that bring their reference log-probabilities."""


def kto(settings: KtoSettings) -> Method:
    """The method with its settings."""

    def arguments(**common: Any) -> KTOConfig:
        return KTOConfig(
            **common,
            beta=settings.beta,
            desirable_weight=settings.desirable_weight,
            undesirable_weight=settings.undesirable_weight,
            precompute_ref_log_probs=True,
        )

    return Method(kind="kto", arguments=arguments, build=_build, prepare=with_partners)


def with_partners(rows: list[Row]) -> list[Row]:
    """Each row with the completion of another one under ``other_ids`` and ``other_mask``.

    Raises:
        EmptyDatasetError: There is one row only, so that no mismatched pair exists.
    """
    if len(rows) < 2:
        raise EmptyDatasetError("KTO needs at least two rows", remedy="sample more")
    circle = np.random.default_rng(0).permutation(len(rows))
    partner = dict(zip(circle.tolist(), np.roll(circle, 1).tolist(), strict=True))
    return [
        row | {"other_ids": other["completion_ids"], "other_mask": other["completion_mask"]}
        for index, row in enumerate(rows)
        for other in [rows[partner[index]]]
    ]


def _build(session: Session) -> PlannedKto:
    assert isinstance(session.arguments, KTOConfig)
    reference = session_reference(session, SIDES)
    rows = [
        {name: row[name] for name in COLUMNS} | {"ref_logps": own, "ref_KL_logps": other}
        for row, (own, other) in zip(session.rows, reference, strict=True)
    ]
    trainer = PlannedKto(
        model=session.model,
        args=session.arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=KtoCollator(session.pad_id),
        processing_class=session.tokenizer,
    )
    drop_reference_adapter(trainer)
    return trainer
