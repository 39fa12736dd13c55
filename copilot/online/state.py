"""What a killed run goes on from: weights, optimisers, curriculum and how far the groups were used.

Rollouts are on disk already, and every step seeds its own generators, so there is nothing else to remember. A marker
is written last; only marked checkpoints count.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from copilot.training.checkpoints import MARKER, last_complete, remove_partial, step_of

_KEPT = 2


class Resumable(Protocol):
    """Something with a file of its own in a checkpoint."""

    def save(self, folder: Path, *, writes: bool = True) -> None:
        """Write it; every process calls it, one ``writes``."""

    def load(self, folder: Path) -> None:
        """Take it back."""


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    """Steps done; also the version of the weights."""
    cursor: int = 0
    """First group not used yet."""
    rates: dict[str, float] = field(default_factory=dict)
    """The curriculum's state."""


def save_checkpoint(folder: Path, progress: Progress, parts: Sequence[Resumable], *, writes: bool) -> None:
    """Write a checkpoint and forget all but the newest two; every process calls it, one ``writes``."""
    target = folder / f"checkpoint-{progress.step}"
    if writes:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
    for part in parts:
        part.save(target, writes=writes)
    if not writes:
        return
    (target / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
    (target / MARKER).touch()
    complete = sorted((path.parent for path in folder.glob(f"checkpoint-*/{MARKER}")), key=step_of)
    for old in complete[:-_KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, parts: Sequence[Resumable]) -> Progress:
    """Take back the newest complete checkpoint; without one, a new beginning."""
    checkpoint = last_complete(folder)
    if checkpoint is None:
        return Progress()
    for part in parts:
        part.load(checkpoint)
    return Progress(**json.loads((checkpoint / "progress.json").read_text(encoding="utf-8")))


def clean(folder: Path) -> None:
    """Remove what a killed run left half-written (one process only)."""
    remove_partial(folder)
