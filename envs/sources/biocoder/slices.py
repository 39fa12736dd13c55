"""A slice of an installed package: a function with all it needs, as one module, and its body taken out.

Decision: a slice rather than the package, since the whole of scikit-bio drags in two hundred modules and extensions.
The closure over names is taken from source; functions with the same body (aliases and copies) are emptied, too, and
only source is written, so that no byte code can give the body back. Functions whose slice would need two things of one
name are not asked about.
"""

import ast
import copy
import inspect
import sys
import textwrap
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from scipy import special

from copilot.envs.sandboxes.layout import PACKAGES

_KNOWN = {*sys.stdlib_module_names, *PACKAGES}


class NotSliceable(ValueError):
    """The function cannot stand alone; the message says why."""


@dataclass
class Slice:
    """What a slice is made of."""

    package: str
    imports: dict[str, str] = field(default_factory=dict)
    """Import line by name."""
    constants: dict[str, str] = field(default_factory=dict)
    """Assignment by name."""
    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    """Functions and classes by name, a definition before what uses it."""
    owners: dict[str, int] = field(default_factory=dict)
    """Identity of what a name stands for."""


def slice_with_hole(function: FunctionType) -> tuple[str, str]:
    """The text of the slice without the function's body, and the function's own source.

    Raises:
        NotSliceable: It needs something that has no source of its own.
    """
    plain = inspect.unwrap(function)
    part = Slice(package=plain.__module__.split(".")[0])
    _add(plain.__name__, plain, sys.modules[plain.__module__], part)
    target = part.definitions[plain.__name__]
    assert isinstance(target, ast.FunctionDef)
    body = _body(target)
    solution = ast.unparse(target)
    for name, node in part.definitions.items():
        if isinstance(node, ast.FunctionDef) and _body(node) == body:
            part.definitions[name] = _hollow(node)
    return _text(part), solution


def _text(part: Slice) -> str:
    lines = ["from __future__ import annotations", *sorted(set(part.imports.values())), *part.constants.values()]
    return "\n".join([*lines, *(ast.unparse(node) for node in part.definitions.values())]) + "\n"


def _body(node: ast.FunctionDef) -> str:
    """A function's body without its docstring, as text."""
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return "\n".join(ast.dump(statement) for statement in statements)


def _hollow(node: ast.FunctionDef) -> ast.FunctionDef:
    doc = node.body[:1] if ast.get_docstring(node) is not None else []
    stop = ast.parse("raise NotImplementedError").body
    hollow = copy.copy(node)
    hollow.body = [*doc, *stop]
    return ast.fix_missing_locations(hollow)


def _add(name: str, value: Any, home: ModuleType, part: Slice) -> None:
    """Put what ``name`` means in module ``home`` into the slice, with all it needs."""
    if name in part.owners:
        if part.owners[name] != id(value):
            raise NotSliceable(f"two things are called {name}")
        return
    part.owners[name] = id(value)
    if isinstance(value, ModuleType) and value.__name__.split(".")[0] == part.package:
        part.imports["SimpleNamespace"] = "from types import SimpleNamespace"
        part.constants[name] = f"{name} = SimpleNamespace()"
    elif isinstance(value, ModuleType):
        _check_known(value.__name__)
        part.imports[name] = f"import {value.__name__} as {name}"
    elif isinstance(value, FunctionType | type) and value.__module__.split(".")[0] == part.package:
        _add_definition(name, inspect.unwrap(value), part)
    elif isinstance(value, np.ufunc):
        part.imports[name] = f"from {'scipy.special' if hasattr(special, value.__name__) else 'numpy'} import {name}"
    elif isinstance(value, bytes | str | int | float | bool | None | tuple | list | dict | set | frozenset):
        part.constants[name] = f"{name} = {_literal(name, value)}"
    elif getattr(value, "__module__", None) and hasattr(value, "__name__"):
        _check_known(value.__module__)
        part.imports[name] = f"from {value.__module__} import {value.__name__} as {name}"
    else:
        raise NotSliceable(f"{name} is a {type(value).__name__}")


def _check_known(module: str) -> None:
    """Refuse modules that no sandbox has."""
    if module.split(".")[0] not in _KNOWN:
        raise NotSliceable(f"it imports {module}")


def _add_definition(name: str, value: Any, part: Slice) -> None:
    if value.__name__ != name:
        raise NotSliceable(f"{name} is another name of {value.__name__}")
    home = sys.modules[value.__module__]
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    except (OSError, TypeError) as error:
        raise NotSliceable(f"{name} has no source") from error
    for used in _names(node):
        if used != name and used in vars(home):
            _add(used, vars(home)[used], home, part)
            _add_attributes(used, vars(home)[used], node, part)
    part.definitions[name] = node


def _add_attributes(name: str, value: Any, node: ast.stmt, part: Slice) -> None:
    """Data that a definition reads from a module of the package."""
    if not isinstance(value, ModuleType) or value.__name__.split(".")[0] != part.package:
        return
    reads = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    for attribute in sorted({n.attr for n in reads if isinstance(n.value, ast.Name) and n.value.id == name}):
        key = f"{name}.{attribute}"
        part.constants[key] = f"{key} = {_literal(key, getattr(value, attribute))}"


def _names(node: ast.stmt) -> list[str]:
    """Global names that a definition may read, annotations left out."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.arg):
            inner.annotation = None
        if isinstance(inner, ast.FunctionDef):
            inner.returns = None
    return sorted({inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)})


def _literal(name: str, value: object) -> str:
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError) as error:
        raise NotSliceable(f"{name} is no plain constant") from error
    if not same or len(text) > 200_000:
        raise NotSliceable(f"{name} is no plain constant")
    return text
