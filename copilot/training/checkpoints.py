"""Resumable checkpoints that survive a kill at any moment.

transformers writes a checkpoint file by file; one that was cut short looks like a whole one. A marker is written
last, after every rank has finished its part, and only marked checkpoints are resumed from; the rest are removed.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

MARKER = "COMPLETE"


def last_complete(folder: Path) -> Path | None:
    """The newest marked checkpoint below ``folder``."""
    marked = [path.parent for path in folder.glob(f"checkpoint-*/{MARKER}")]
    return max(marked, key=step_of, default=None)


def remove_partial(folder: Path) -> None:
    """Delete what a killed run left half-written (one process only may do this)."""
    for path in folder.glob("checkpoint-*"):
        if not (path / MARKER).is_file():
            shutil.rmtree(path)


def step_of(checkpoint: Path) -> int:
    """The optimiser step a checkpoint was taken after."""
    return int(checkpoint.name.rpartition("-")[2])


class MarkComplete(TrainerCallback):
    """Writes the marker once all ranks have saved.

    Args:
        folder: The trainer's output folder.
        wait_for_everyone: A barrier over the ranks.
    """

    def __init__(self, folder: Path, wait_for_everyone: Callable[[], None]) -> None:
        self._folder, self._wait = folder, wait_for_everyone

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """All ranks come here after their own part of the save."""
        self._wait()
        if state.is_world_process_zero:
            (self._folder / f"checkpoint-{state.global_step}" / MARKER).touch()
