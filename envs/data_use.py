"""Credentialed data stays home (DESIGN decision 14): how tasks and what is made of them say that they are closed.

The id of a task made from data under a data use agreement carries a mark, so everything derived from it does too,
wherever it is opened: also on a machine where the source finds only the open demo, or nothing at all.
"""

from collections.abc import Iterable

MARK = "dua-"
"""Start of the last part of such a task's id: ``mimic_iii/valid/dua-0d92a1``."""


def marked(key: str, credentialed: bool) -> str:
    """The last part of a task's id."""
    return MARK + key if credentialed else key


def is_closed(source: str, task_id: str) -> bool:
    """Whether a task, or what was recorded of it, must not leave the house; an unknown source is taken for closed."""
    from copilot.envs.sources.base import get_source, source_names

    if task_id.rpartition("/")[2].startswith(MARK):
        return True
    return source not in source_names() or get_source(source).credentialed


def closed_sources(tasks: Iterable[tuple[str, str]]) -> list[str]:
    """The sources, sorted, of which some task must not leave the house.

    Args:
        tasks: Pairs of a source and a task id.
    """
    closed: set[str] = set()
    known: dict[tuple[str, bool], bool] = {}
    for source, task_id in tasks:
        kind = (source, task_id.rpartition("/")[2].startswith(MARK))
        if kind not in known:
            known[kind] = is_closed(source, task_id)
        if known[kind]:
            closed.add(source)
    return sorted(closed)
