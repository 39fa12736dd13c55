"""The contract of a task source, and how sources are found.

A source is one module (or package) in this folder with a module-level ``SOURCE``, an instance of
:class:`Source`. Dropping the file in is all: nothing else is edited.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from copilot.envs.actions import Action, ExecuteCode, Submit
from copilot.envs.task import Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import UNANSWERABLE, UnanswerableAnswer


class Source(ABC):
    """A family of tasks over the same data."""

    name: ClassVar[str]
    """Name in recipes and task ids; the module's name."""
    title: ClassVar[str]
    """One line for tables."""
    licence: ClassVar[str]
    """Licence of questions and data."""
    credentialed: ClassVar[bool] = False
    """Whether the data is under a data use agreement; see DESIGN decision 14."""
    splits: ClassVar[tuple[str, ...]] = ("train", "valid", "test_seen", "test_unseen")
    """Splits that :meth:`tasks` knows."""

    @abstractmethod
    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Yield the tasks of a split, in a stable order.

        Args:
            split: One of :attr:`splits`.
            limit: Stop after so many; generated sources have a default size of their own.
            seed: For generated sources: the stream of instances. Splits never share an instance for any seed.

        Raises:
            DataError: The data folder is missing or incomplete; the message names the files.
        """

    @abstractmethod
    def files(self, task: Task) -> dict[str, Path]:
        """Host files the sandbox mounts read-only, by name: ``{"ehr.db": Path(...)}`` appears as ``/data/ehr.db``."""

    def preamble(self, task: Task) -> str:
        """Python run in the sandbox before the first cell, e.g. a ``sql(query)`` helper over ``/data/ehr.db``."""
        return ""

    @abstractmethod
    def worked_example(self) -> WorkedExample:
        """A solved question that is in no split."""

    def demonstration(self, task: Task) -> tuple[Action, ...]:
        """The actions by which the ``reference`` teacher solves the task in the real environment."""
        if isinstance(task.reference.answer, UnanswerableAnswer):
            return (Submit(answer=UNANSWERABLE),)
        return (ExecuteCode(code=task.reference.program), Submit(variable="answer"))


def source_names() -> list[str]:
    """Names of all sources, sorted."""
    import copilot.envs.sources as package

    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "base")


def get_source(name: str) -> Source:
    """The source called ``name``.

    Raises:
        DataError: No such source.
    """
    if name not in source_names():
        raise DataError(f"no task source {name!r}", remedy=did_you_mean(name, source_names()))
    module = importlib.import_module(f"copilot.envs.sources.{name}")
    source: Source = module.SOURCE
    return source
