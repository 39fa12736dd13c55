"""The progress of a rollout: a live bar on a terminal, a line now and then in a log file."""

import time
from types import TracebackType
from typing import Self

from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from copilot.data.trajectory import Trajectory

LOG_SECONDS = 30.0
"""Time between lines when the console is no terminal."""


class RolloutProgress:
    """Counts episodes and tokens; a context manager.

    Args:
        label: What is being played.
        total: Number of episodes; ``None``: unknown.
        console: Where to show it; default: rich's own, which stages draw on the run's terminal.
    """

    def __init__(self, label: str, total: int | None, *, console: Console | None = None) -> None:
        self.label, self.total = label, total
        self.console = console or get_console()
        self._done = self._tokens = self._solved = 0
        self._began = self._logged = time.perf_counter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=total, figures="")

    def advance(self, trajectory: Trajectory) -> None:
        """Count one finished episode."""
        self._done += 1
        self._tokens += sum(turn.completion_tokens for turn in trajectory.turns)
        self._solved += trajectory.success("submitted")
        self._bar.update(self._task, advance=1, figures=self.figures())
        if not self.console.is_terminal and time.perf_counter() - self._logged >= LOG_SECONDS:
            self._log()

    def figures(self) -> str:
        """Rates so far."""
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        rate = f"{self._done / elapsed:.2f} episodes/s, {self._tokens / elapsed:.0f} tok/s"
        return f"{rate}, {self._solved} solved"

    def _log(self) -> None:
        self._logged = time.perf_counter()
        of = "" if self.total is None else f"/{self.total}"
        left = ""
        if self.total is not None and self._done:
            seconds = (self._logged - self._began) * (self.total - self._done) / self._done
            left = f", about {max(seconds, 0):.0f} s left"
        self.console.print(f"{self.label}: {self._done}{of} episodes, {self.figures()}{left}", highlight=False)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.__exit__(kind, error, tb)
        if not self.console.is_terminal and self._done:
            self._log()
