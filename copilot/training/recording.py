"""What a training run tells: ``losses.jsonl`` (every step), the run's metrics, and one progress bar.

``losses.jsonl`` has exactly one record per step, in order, also after any number of kills: records past the
checkpoint that is resumed from are cut off first.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from copilot.stages.base import StageContext

_RENAMED = {"learning_rate": "lr"}
_LEFT_OUT = {"epoch", "total_flos", "num_tokens"}


def cut_losses(path: Path, last_step: int) -> None:
    """Keep the records of ``path`` up to ``last_step``; half-written lines go too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > last_step:
            break
        kept.append(line)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    os.replace(partial, path)


class Recorder(TrainerCallback):
    """Writes records on rank 0.

    Args:
        ctx: The running stage.
        step_tokens: Tokens of each step, over all ranks, padding not counted.
        rows: Rows of the data set, for the epoch.
        batch_size: Rows per step.
        every: Steps between two records in the run's metrics.
    """

    def __init__(
        self, ctx: StageContext, *, step_tokens: Sequence[int], rows: int, batch_size: int, every: int
    ) -> None:
        self._ctx, self._step_tokens, self._every = ctx, step_tokens, every
        self._epochs_per_step = batch_size / rows
        self._since = time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the step's clock."""
        self._since = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """One record per step; the trainer's closing summary is not one."""
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        seconds = time.perf_counter() - self._since
        tokens = self._step_tokens[state.global_step - 1]
        figures = {_RENAMED.get(name, name): value for name, value in logs.items() if name not in _LEFT_OUT}
        record = {
            **figures,
            "epoch": round(state.global_step * self._epochs_per_step, 4),
            "tokens": tokens,
            "tokens_per_second": round(tokens / seconds, 1),
        }
        with open(self._ctx.folder / "losses.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **record}) + "\n")
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._ctx.log(step=state.global_step, **record)


class ProgressBar(TrainerCallback):
    """A bar with the loss and the speed, on rank 0."""

    def __init__(self, title: str) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._title = title

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Shows the bar, from where a resumed run stands."""
        if state.is_world_process_zero:
            self._task = self._bar.add_task(self._title, total=state.max_steps, completed=state.global_step, loss="-")
            self._bar.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Moves the bar."""
        if logs is not None and "loss" in logs and state.is_world_process_zero:
            self._bar.update(self._task, completed=state.global_step, loss=f"{logs['loss']:.4f}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leaves the finished bar on the screen."""
        if state.is_world_process_zero:
            self._bar.stop()
