"""Comparing what was created on a server with the patterns of what should have been.

A pattern is a part of a resource: every leaf of it must be there, at its place, by value; lists hold their patterns in
any order. Every pattern needs a resource of its own and no resource may be left over: doing more is wrong, too.
"""

from collections.abc import Sequence

from pydantic import JsonValue

from copilot.reward.outputs import same_json

_MAX_CREATED = 50
"""More resources than any task asks for; a longer list is not looked at."""


def compare_created(patterns: Sequence[JsonValue], created: object) -> str | None:
    """What is wrong with the created resources in a few words, or ``None``."""
    if not isinstance(created, list) or len(created) > _MAX_CREATED:
        return "no list of created resources"
    if len(created) != len(patterns):
        return f"{len(created)} resources were created instead of {len(patterns)}"
    if not _covered(list(patterns), created):
        return "a created resource is not what was asked for" if patterns else "nothing was to be created"
    return None


def fits(pattern: JsonValue, resource: object) -> bool:
    """Whether all leaves of ``pattern`` are in ``resource``; texts without regard to white space."""
    if isinstance(pattern, dict):
        return isinstance(resource, dict) and all(
            key in resource and fits(part, resource[key]) for key, part in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(resource, list) and len(resource) <= _MAX_CREATED and _covered(pattern, resource)
    if isinstance(pattern, str):
        return isinstance(resource, str) and pattern.split() == resource.split()
    return same_json(pattern, resource, rel_tol=1e-9)


def _covered(patterns: list[JsonValue], items: list[object]) -> bool:
    """Whether every pattern can be given an item of its own (depth first; lists are short)."""
    if not patterns:
        return True
    for index, item in enumerate(items):
        if fits(patterns[0], item) and _covered(patterns[1:], items[:index] + items[index + 1 :]):
            return True
    return False
