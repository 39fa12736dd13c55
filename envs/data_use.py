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


def is_closed(task_id: str) -> bool:
    """Whether a task, or what was recorded of it, must not leave the house."""
    from copilot.envs.sources.base import get_source, source_names

    name, _, rest = task_id.partition("/")
    if rest.rpartition("/")[2].startswith(MARK):
        return True
    return name not in source_names() or get_source(name).credentialed


def closed_sources(task_ids: Iterable[str]) -> list[str]:
    """The sources of those tasks that must not leave the house, sorted."""
    seen: dict[str, bool] = {}
    for task_id in task_ids:
        name = task_id.partition("/")[0]
        if not seen.get(name):
            seen[name] = is_closed(task_id)
    return sorted(name for name, closed in seen.items() if closed)
