"""Trajectory filters, one file each; :data:`AnyFilter` is the union of all that lie in this folder."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from copilot.data.filters.base import Filter, SingleFilter

__all__ = ["AnyFilter", "Filter", "SingleFilter", "filter_types"]


def filter_types() -> list[str]:
    """Names of all filters, sorted; a file dropped into this folder is one."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")


if TYPE_CHECKING:
    AnyFilter = Filter
else:
    _classes = tuple(importlib.import_module(f"{__name__}.{name}").FILTER for name in filter_types())
    AnyFilter = Annotated[Union[_classes], Field(discriminator="type")]  # noqa: UP007
