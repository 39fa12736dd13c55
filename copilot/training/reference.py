"""Log-probabilities of the reference: the weights as they entered the stage, computed once before the first step.

The reference is therefore a frozen copy of the travelling adapter (never the bare base) at no memory, and the first
step's reward margin is 0. Ranks share the rows; results are appended as they come, so a killed pass goes on.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from copilot.training.collators import pad
from copilot.training.rows import Row
from copilot.training.scoring import sequence_logps

if TYPE_CHECKING:
    from copilot.training.loop import Session

Side = tuple[str, str]
"""Column names of a completion's ids and mask; the prompt is ``prompt_ids``."""


def reference_logps(
    model: PreTrainedModel,
    rows: Sequence[Row],
    sides: tuple[Side, Side],
    *,
    folder: Path,
    rank: int,
    world_size: int,
    wait_for_everyone: Callable[[], None],
) -> list[tuple[float, float]]:
    """Summed log-probability of both completions of every row under ``model`` as it is now.

    Args:
        model: The base model (PEFT adapters are injected in it), on the device to use.
        rows: All rows, the same on every rank.
        sides: Columns of the two completions.
        folder: Where ``reference.rank*.jsonl`` are kept.
        rank: This process.
        world_size: All processes.
        wait_for_everyone: A barrier.
    """
    done = _read(folder)
    wait_for_everyone()
    missing = [index for index in range(len(rows)) if index not in done][rank::world_size]
    was_training = model.training
    model.eval()
    with open(folder / f"reference.rank{rank}.jsonl", "a", encoding="utf-8") as file, torch.no_grad():
        for index in missing:
            values = _score(model, rows[index], sides).tolist()
            file.write(json.dumps({"row": index, "logps": values}) + "\n")
            file.flush()
    model.train(was_training)
    wait_for_everyone()
    done = _read(folder)
    return [done[index] for index in range(len(rows))]


def session_reference(session: "Session", sides: tuple[Side, Side]) -> list[tuple[float, float]]:
    """:func:`reference_logps` of a session's rows under its model as loaded."""
    model = session.base_model
    torch.nn.Module.to(model, session.arguments.device)
    return reference_logps(
        model,
        session.rows,
        sides,
        folder=session.ctx.folder,
        rank=session.ctx.rank,
        world_size=session.ctx.world_size,
        wait_for_everyone=session.wait_for_everyone,
    )


def _score(model: PreTrainedModel, row: Row, sides: tuple[Side, Side]) -> torch.Tensor:
    """Both completions in one batch: they share the prompt."""
    prompt = row["prompt_ids"]
    ids_BT = pad([prompt + row[ids] for ids, _ in sides], prompt[0])
    mask_BT = pad([[0] * len(prompt) + row[mask] for _, mask in sides], 0)
    device = next(model.parameters()).device
    return sequence_logps(model, ids_BT.to(device), mask_BT.to(device))


def _read(folder: Path) -> dict[int, tuple[float, float]]:
    done = {}
    for path in sorted(folder.glob("reference.rank*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):  # a kill can leave half a line; that row is computed again
                record = json.loads(line)
                done[record["row"]] = (record["logps"][0], record["logps"][1])
    return done
