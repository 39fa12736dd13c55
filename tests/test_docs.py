"""Every field of a config section or a record says what it is."""

import importlib
import pkgutil
from collections.abc import Iterator

from pydantic import BaseModel

import copilot
from copilot.config import Record, StrictModel

TAGS = {"type", "kind"}
"""Discriminators: the class's own docstring says what they mean."""


def classes(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in base.__subclasses__():
        yield child
        yield from classes(child)


def test_every_field_is_documented() -> None:
    for package in ("copilot", "copilot.envs", "copilot.reward", "copilot.data"):
        folder = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(folder, prefix=f"{package}."):
            if ".inside" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    assert copilot.__version__
    found = {c for base in (StrictModel, Record) for c in classes(base) if c.__module__.startswith("copilot.")}
    assert len(found) > 30
    undocumented = [
        f"{c.__module__}.{c.__name__}.{name}"
        for c in sorted(found, key=lambda c: f"{c.__module__}.{c.__name__}")
        for name, field in c.model_fields.items()
        if name in c.__annotations__ and name not in TAGS and not field.description
    ]
    assert undocumented == []
    assert [c.__qualname__ for c in found if not c.__doc__] == []
