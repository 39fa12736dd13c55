"""Direct preference optimisation on the sampled tokens of both completions (arXiv 2305.18290).

TRL's DPOTrainer computes the loss from our ids, masks and reference log-probabilities. Environment output inside a
completion is context, never trained on. The reference is the adapter as it entered the stage
(:mod:`copilot.training.reference`).
"""

from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from copilot.training.collators import DpoCollator
from copilot.training.config import DpoSettings
from copilot.training.loop import Method, PlannedTrainer, Session
from copilot.training.reference import session_reference

SIDES = (("chosen_ids", "chosen_mask"), ("rejected_ids", "rejected_mask"))
COLUMNS = ("prompt_ids", "chosen_ids", "chosen_mask", "rejected_ids", "rejected_mask")


class PlannedDpo(PlannedTrainer, DPOTrainer):
    """DPOTrainer over planned rows that bring their reference log-probabilities."""


def dpo(settings: DpoSettings) -> Method:
    """The method with its settings."""

    def arguments(**common: Any) -> DPOConfig:
        return DPOConfig(
            **common,
            beta=settings.beta,
            loss_type=list(settings.loss),
            loss_weights=settings.loss_weights,
            precompute_ref_log_probs=True,
        )

    return Method(kind="dpo", arguments=arguments, build=_build)


def _build(session: Session) -> PlannedDpo:
    assert isinstance(session.arguments, DPOConfig)
    reference = session_reference(session, SIDES)
    rows = [
        {name: row[name] for name in COLUMNS} | {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        for row, (chosen, rejected) in zip(session.rows, reference, strict=True)
    ]
    trainer = PlannedDpo(
        model=session.model,
        args=session.arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=DpoCollator(session.pad_id),
        processing_class=session.tokenizer,
    )
    drop_reference_adapter(trainer)
    return trainer


def drop_reference_adapter(trainer: PlannedTrainer) -> None:
    """TRL copies the adapter as ``ref``; with the reference known, the copy would only be saved and served."""
    if isinstance(trainer.model, PeftModel) and "ref" in trainer.model.peft_config:
        trainer.model.delete_adapter("ref")
