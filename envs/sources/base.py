"""The contract of a task source, and how sources are found.

A source is one module (or package) in this folder with a module-level ``SOURCE``, an instance of
:class:`Source`. Dropping the file in is all: nothing else is edited. What several sources share lies in ``envs/``,
since every module of this folder is a source.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from copilot.config import Record
from copilot.envs.actions import Action, ExecuteCode, Submit
from copilot.envs.sandboxes.base import Sandbox, SandboxBackend
from copilot.envs.task import Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import UNANSWERABLE, UnanswerableAnswer


class Download(Record):
    """An open file at its official place, for ``med-copilot tasks fetch``."""

    url: str
    """Where its publisher keeps it, at a fixed version or commit."""
    path: str
    """Where it goes under ``$MED_COPILOT_DATA``; with the name the source looks for."""
    sha256: str = ""
    """SHA-256 of the bytes; empty only where ``git_blob`` or ``sums`` stands for it."""
    git_blob: str = ""
    """Id of the file in its git repository (SHA-1 of a header and the bytes), for files known by it alone."""
    sums: str = ""
    """The publisher's own list of SHA-256 sums (``SHA256SUMS.txt``), for files whose sum is not known here."""
    licence: str
    """Licence of the file."""


class Access(Record):
    """Data that its user must apply for, for ``med-copilot tasks fetch``."""

    name: str
    """What it is, with its version."""
    apply: str
    """Address of the application, and what it asks for."""
    put: str
    """Where the source looks for it under ``$MED_COPILOT_DATA``, and which files it needs."""


class Source(ABC):
    """A family of tasks over the same data."""

    name: ClassVar[str]
    """Name in recipes and task ids; the module's name."""
    title: ClassVar[str]
    """One line for tables."""
    licence: ClassVar[str]
    """Licence of questions and data."""
    splits: ClassVar[tuple[str, ...]] = ("train", "valid", "test_seen", "test_unseen")
    """Splits that :meth:`tasks` knows."""
    paper_row: ClassVar[str] = ""
    """Row of arXiv 2506.04405 Table 2 that this source covers (``MIMIC-III``); empty: not one of the twelve."""
    look_alike: ClassVar[frozenset[str]] = frozenset()
    """Splits of own tasks in the form of the paper's source; every table says so, and their names end in ``_form``
    where the source also reads the original."""
    downloads: ClassVar[tuple[Download, ...]] = ()
    """Open files, each from its official place."""
    access: ClassVar[tuple[Access, ...]] = ()
    """Data that its user applies for."""
    kept_floor: ClassVar[Mapping[str, Fraction]] = {}
    """Least share of upstream's tasks of a split that are kept, where a split has an upstream."""
    reproduced_floor: ClassVar[Fraction] = Fraction(1)
    """Least share of kept tasks whose program gives the reference; below 1 only for upstream's own answers."""

    stateful: ClassVar[bool] = False
    """Whether a sandbox's past counts in :meth:`evidence`, so that a check gives every task one of its own."""

    @property
    def credentialed(self) -> bool:
        """Whether the data found here is under a data use agreement; see DESIGN decision 14."""
        return False

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

    def dropped(self, split: str) -> Mapping[str, int]:
        """Upstream's tasks of a split that :meth:`tasks` leaves out, counted by reason (``{"empty answer": 12}``).

        Kept and dropped together are all that upstream has; generated splits drop nothing.
        """
        return {}

    @abstractmethod
    def files(self, task: Task) -> dict[str, Path]:
        """Host files the sandbox mounts read-only, by name: ``{"ehr.db": Path(...)}`` appears as ``/data/ehr.db``."""

    def preamble(self, task: Task) -> str:
        """Python run in the sandbox before the first cell, e.g. a ``sql(query)`` helper over ``/data/ehr.db``."""
        return ""

    @abstractmethod
    def worked_example(self) -> WorkedExample:
        """A solved question that is in no split."""

    async def evidence(self, task: Task, submitted: JsonValue, sandbox: Sandbox, backend: SandboxBackend) -> JsonValue:
        """What the grader is given: the submitted value, unless the answer's kind needs more than that.

        Code is run on its hidden inputs in a fresh sandbox here, and a server's state is rebuilt from its requests.
        Whatever the policy did, this returns JSON that can be graded; it raises for infrastructure alone.

        Args:
            task: The question.
            submitted: Hostile JSON.
            sandbox: The episode's own sandbox.
            backend: Opens fresh ones.

        Raises:
            InfrastructureError: A sandbox failed; the sample is masked.
        """
        return submitted

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
