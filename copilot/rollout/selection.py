"""Which tasks are played: the part of a stage's config that names them, and how they are gathered."""

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from copilot.config import StrictModel
from copilot.envs.suites import Cut
from copilot.errors import DataError

if TYPE_CHECKING:
    from copilot.envs.task import Task


class SourceSplit(StrictModel):
    """Tasks straight from a source."""

    source: str
    """Name of the source."""
    split: str
    """One of its splits."""
    limit: int | None = None
    """At most so many; empty: all of them (generated sources: their default number)."""
    seed: int = 0
    """Stream of instances, for generated sources."""


class TaskSelection(StrictModel):
    """Tasks of a suite, of sources, or of both."""

    suite: str = ""
    """A shipped suite's name or a file."""
    splits: list[str] = Field(default_factory=list)
    """Splits of the suite to take; empty: all of it."""
    sources: list[SourceSplit] = Field(default_factory=list)
    """Tasks straight from sources."""
    cuts: list[Cut] = Field(default_factory=list)
    """Tasks of sources by question template, evenly."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many tasks, from the front."""

    @model_validator(mode="after")
    def _names_tasks(self) -> Self:
        if not self.suite and not self.sources and not self.cuts:
            raise ValueError("name a suite, or list sources or cuts")
        if self.splits and not self.suite:
            raise ValueError("splits go with a suite; a source's split is named with the source")
        return self


def gather_tasks(selection: TaskSelection, *, where: str) -> list["Task"]:
    """The selected tasks, in a stable order.

    Args:
        selection: What to gather.
        where: Named in errors: the stage's id.

    Raises:
        DataError: No tasks, or two with the same id.
    """
    from copilot.envs.sources.base import get_source
    from copilot.envs.suites import build_suite, find_suite, read_suite

    tasks = read_suite(find_suite(selection.suite)) if selection.suite else []
    if selection.splits:
        tasks = [task for task in tasks if task.split in selection.splits]
    for entry in selection.sources:
        tasks += get_source(entry.source).tasks(entry.split, limit=entry.limit, seed=entry.seed)
    tasks += build_suite(selection.cuts)
    tasks = tasks[: selection.limit]
    if not tasks:
        raise DataError("there are no tasks to play", where=where, remedy="look at suite, splits, sources and limit")
    if len({task.id for task in tasks}) < len(tasks):
        raise DataError("a task is listed twice", where=where, remedy="let suite, sources and cuts not overlap")
    return tasks
