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

    terms = loss_terms(settings)

    def arguments(**common: Any) -> DPOConfig:
        return DPOConfig(
            **common,
            beta=settings.beta,
            loss_type=[name for name, _ in terms],
            loss_weights=[weight for _, weight in terms],
            label_smoothing=settings.label_smoothing,
            precompute_ref_log_probs=True,
        )

    return Method(kind="dpo", arguments=arguments, build=_build)


def loss_terms(settings: DpoSettings) -> list[tuple[str, float]]:
    """TRL's loss terms and their weights.

    With L = -logsigmoid(b h) and M = -logsigmoid(-b h), TRL smooths labels only in ``robust``,
    R = ((1-e) L - e M) / (1-2e). Conservative DPO (E. Mitchell, 2023), (1-e) L + e M, is 2 (1-e) L - (1-2e) R.
    """
    weights = settings.loss_weights or [1.0] * len(settings.loss)
    epsilon, terms = settings.label_smoothing, []
    for name, weight in zip(settings.loss, weights, strict=True):
        if name == "sigmoid" and epsilon:
            terms += [("sigmoid", 2 * (1 - epsilon) * weight), ("robust", -(1 - 2 * epsilon) * weight)]
        else:
            terms.append((name, weight))
    return terms


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
