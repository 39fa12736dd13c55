"""Supervised fine-tuning: cross-entropy on the sampled tokens, averaged over all trained tokens of a step.

TRL's SFTTrainer with our ids and labels: it tokenises, masks and cuts nothing.
"""

from typing import Any

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from copilot.training.collators import SftCollator
from copilot.training.loop import Method, PlannedTrainer, Session


class PlannedSft(PlannedTrainer, SFTTrainer):
    """SFTTrainer over planned rows."""


def _arguments(**common: Any) -> SFTConfig:
    return SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True}, packing=False)


def _build(session: Session) -> PlannedSft:
    assert isinstance(session.arguments, SFTConfig)
    columns = [{name: row[name] for name in ("input_ids", "labels")} for row in session.rows]
    return PlannedSft(
        model=session.model,
        args=session.arguments,
        train_dataset=Dataset.from_list(columns),
        data_collator=SftCollator(session.pad_id),
        processing_class=session.tokenizer,
    )


SFT = Method(kind="sft", arguments=_arguments, build=_build)
"""Supervised fine-tuning."""
