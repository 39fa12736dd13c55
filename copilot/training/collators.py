"""Rows to tensors, padded on the right; masks and labels pass through untouched.

Right padding needs no attention mask under causal attention, but the mask is handed on for engines that want it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from copilot.training.rows import Row

Batch = dict[str, torch.Tensor]
"""Tensors by name, batch first."""


def pad(sequences: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Int64 tensor (B, T) of the sequences, filled up on the right with ``value``."""
    width = max(len(sequence) for sequence in sequences)
    return torch.tensor([[*sequence, *[value] * (width - len(sequence))] for sequence in sequences])


def _ones(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    return pad([[1] * len(sequence) for sequence in sequences], 0)


@dataclass(frozen=True)
class SftCollator:
    """``input_ids``, ``attention_mask`` and ``labels``, each (B, T)."""

    pad_id: int
    """Token that fills up."""

    def __call__(self, rows: list[Row]) -> Batch:
        """Collate."""
        ids = [row["input_ids"] for row in rows]
        # The first token of a row is never predicted; TRL counts labels before it shifts them.
        labels = [[-100, *row["labels"][1:]] for row in rows]
        return {"input_ids": pad(ids, self.pad_id), "attention_mask": _ones(ids), "labels": pad(labels, -100)}


@dataclass(frozen=True)
class DpoCollator:
    """Chosen rows, then rejected rows: ``input_ids``, ``attention_mask``, ``completion_mask`` (2B, T).

    Reference log-probabilities (B,) are copied when the rows have them.
    """

    pad_id: int
    """Token that fills up."""

    def __call__(self, rows: list[Row]) -> Batch:
        """Collate."""
        sides = [(row, side) for side in ("chosen", "rejected") for row in rows]
        batch = _completions([(row["prompt_ids"], row[f"{s}_ids"], row[f"{s}_mask"]) for row, s in sides], self.pad_id)
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows], dtype=torch.float32)
        return batch


@dataclass(frozen=True)
class KtoCollator:
    """A completion per row and, under ``KL_`` names, another row's completion on the same prompt (see :mod:`kto`)."""

    pad_id: int
    """Token that fills up."""

    def __call__(self, rows: list[Row]) -> Batch:
        """Collate."""
        own = [(row["prompt_ids"], row["completion_ids"], row["completion_mask"]) for row in rows]
        other = [(row["prompt_ids"], row["other_ids"], row["other_mask"]) for row in rows]
        batch = _completions(own, self.pad_id)
        batch |= {f"KL_{name}": tensor for name, tensor in _completions(other, self.pad_id).items()}
        batch["label"] = torch.tensor([row["label"] for row in rows])
        for name in ("ref_logps", "ref_KL_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows], dtype=torch.float32)
        return batch


def _completions(parts: Sequence[tuple[list[int], list[int], list[int]]], pad_id: int) -> Batch:
    """Batch of (prompt ids, completion ids, completion mask) triples."""
    ids = [[*prompt, *completion] for prompt, completion, _ in parts]
    mask = [[0] * len(prompt) + list(trained) for prompt, _, trained in parts]
    return {"input_ids": pad(ids, pad_id), "attention_mask": _ones(ids), "completion_mask": pad(mask, 0)}
