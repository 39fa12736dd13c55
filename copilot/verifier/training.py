"""Training a verifier: binary cross-entropy of its one logit, with the loop, records and resume of SFT and DPO.

The rows of a ``build`` stage are text; they are encoded here, in the tokens of the verifier's own base, so that any
policy's episodes can be judged.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import TrainingArguments

from copilot.data.dataset import write_atomically
from copilot.data.rows_file import read_rows
from copilot.data.transcript import Transcript
from copilot.errors import DataError
from copilot.training.collators import Batch, pad
from copilot.training.loop import Method, PlannedTrainer, Session
from copilot.training.rows import Row
from copilot.verifier.config import Head, VerifierSettings
from copilot.verifier.encoding import Encoded, Encoder
from copilot.verifier.heads import head_logits, load_head


@dataclass(frozen=True)
class VerifierCollator:
    """``input_ids`` (B, T) padded on the right, ``last`` (B,) positions, ``right`` (B,) in [0, 1], ``weight`` (B,)."""

    pad_id: int
    """Token that fills up."""

    def __call__(self, rows: list[Row]) -> Batch:
        """Collate."""
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": pad(ids, self.pad_id),
            "last": torch.tensor([len(row) - 1 for row in ids]),
            "right": torch.tensor([row["target"] for row in rows], dtype=torch.float32),
            "weight": torch.tensor([row["weight"] for row in rows], dtype=torch.float32),
        }


class VerifierTrainer(PlannedTrainer):
    """Planned rows, one logit each."""

    loss_is_scaled_for_ga = False
    head: Head
    yes_id: int
    no_id: int

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Mean binary cross-entropy (natural logarithm) of a micro-batch, by the rows' weights."""
        logits_B = head_logits(model, self.head, inputs["input_ids"], inputs["last"], self.yes_id, self.no_id)
        return F.binary_cross_entropy_with_logits(logits_B, inputs["right"], weight=inputs["weight"])


def verifier_method(settings: VerifierSettings, encoder: Encoder) -> Method:
    """The method, for :func:`copilot.training.loop.run_training`."""

    def arguments(max_length: None, **common: Any) -> TrainingArguments:
        """TRL's ``max_length`` is unknown here: rows are cut when they are encoded."""
        return TrainingArguments(**common)

    def build(session: Session) -> VerifierTrainer:
        trainer = VerifierTrainer(
            model=session.model,
            args=session.arguments,
            train_dataset=Dataset.from_list(
                [{name: row[name] for name in ("input_ids", "target", "weight")} for row in session.rows]
            ),
            data_collator=VerifierCollator(session.pad_id),
            processing_class=session.tokenizer,
        )
        trainer.head, trainer.yes_id, trainer.no_id = settings.head, encoder.yes_id, encoder.no_id
        return trainer

    return Method(kind="verifier", arguments=arguments, build=build, load=partial(load_head, settings.head))


def read_text_rows(path: Path) -> list[Row]:
    """The rows of a ``build`` stage with ``verifier`` rows.

    Raises:
        DataError: Rows of another format.
    """
    rows = list(read_rows(path))
    wrong = sum(not (isinstance(row.get("turns"), list) and isinstance(row.get("label"), bool)) for row in rows)
    if wrong:
        raise DataError(
            f"{wrong} of {len(rows)} rows are no verifier rows", where=path, remedy="build them with format: verifier"
        )
    return rows


def encode_rows(rows: Sequence[Row], encoder: Encoder) -> list[Encoded]:
    """The rows' inputs.

    Raises:
        DataError: Some do not fit; with counts.
    """
    return encoder.encode_all([Transcript(row["task"], tuple(row["turns"]), row["end"]) for row in rows])


def write_encoded(path: Path, rows: Sequence[Row], encoder: Encoder) -> dict[str, int]:
    """Write what the loop trains on; counts of rows, attempts, labels and cuts.

    ``input_ids``, ``target``, and ``weight``: the copies of a row over their mean, so that the loss is the mean over
    attempts.
    """
    encoded = encode_rows(rows, encoder)
    copies = [row.get("copies", 1) for row in rows]
    mean = sum(copies) / max(1, len(copies))
    records = (
        {
            "input_ids": each.ids,
            "label": row["label"],
            "target": float(row["target"] if "target" in row else row["label"]),
            "weight": count / mean,
            "task_id": row["task_id"],
        }
        for row, each, count in zip(rows, encoded, copies, strict=True)
    )
    write_atomically(path, (json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    return {
        "rows": len(rows),
        "attempts": sum(copies),
        "right": sum(row["label"] for row in rows),
        "cut": sum(each.cut_tokens > 0 for each in encoded),
        "cut_tokens": sum(each.cut_tokens for each in encoded),
    }
