"""Asserts over what a program left behind: its variables leave the sandbox as JSON, and are judged in a fresh one.

Decision: asserts never run beside model code, which could redefine what they call. The episode's sandbox packs the
named variables as text; the text is data, and a fresh sandbox, in which no model code ever ran, rebuilds tables,
series, arrays and containers from it and evaluates the asserts. Hostile text can only be another value.
"""

import ast
import builtins
import json
from collections.abc import Iterable

from pydantic import JsonValue

from copilot.envs.sandboxes.base import Sandbox, SandboxBackend, SandboxSpec

_MAX_PARTS = 16
_PART = 400_000

_PACK = """
def _pack(v, depth=0):
    import numpy as np, pandas as pd
    if depth > 12:
        raise ValueError("nested too deeply")
    inner = lambda items: [_pack(item, depth + 1) for item in items]
    if isinstance(v, pd.DataFrame):
        return {{"t": "frame", "columns": inner(v.columns), "index": inner(v.index),
                "rows": [inner(row) for row in v.itertuples(index=False, name=None)]}}
    if isinstance(v, pd.Series):
        return {{"t": "series", "name": _pack(v.name), "index": inner(v.index), "items": inner(v.tolist())}}
    if isinstance(v, pd.Timestamp):
        return {{"t": "time", "value": v.isoformat()}}
    if v is None or v is pd.NaT or v is pd.NA:
        return None
    if isinstance(v, np.ndarray):
        return {{"t": "array", "items": _pack(v.tolist(), depth + 1)}}
    if isinstance(v, pd.Index) or type(v).__module__.startswith("pandas.core.arr"):
        return {{"t": "array", "items": inner(v.tolist())}}
    if isinstance(v, np.generic):
        return _pack(v.item(), depth)
    if isinstance(v, dict):
        return {{"t": "dict", "items": [inner(pair) for pair in v.items()]}}
    for name, kind in (("list", list), ("tuple", tuple), ("set", (set, frozenset))):
        if isinstance(v, kind):
            return {{"t": name, "items": inner(v)}}
    if isinstance(v, (bool, int, float, str)):
        return v
    raise ValueError("a value of type " + type(v).__name__ + " cannot be handed in")
def _packed_parts(names, world):
    import json
    packed = {{}}
    for name in names:
        try:
            packed[name] = _pack(world[name])
        except Exception:
            pass
    text = json.dumps(packed)
    return [text[i:i + {part}] for i in range(0, len(text), {part})]
_parts = _packed_parts({names!r}, globals())
_count = len(_parts)
"""

_JUDGE = """
import json, math
import numpy as np
import pandas as pd
def _unpack(v):
    if not isinstance(v, dict):
        return v
    kind, items = v["t"], v.get("items")
    if kind == "frame":
        rows = [[_unpack(c) for c in row] for row in v["rows"]]
        columns, index = [_unpack(c) for c in v["columns"]], [_unpack(i) for i in v["index"]]
        return pd.DataFrame(rows, columns=columns, index=index)
    if kind == "series":
        index = [_unpack(i) for i in v["index"]]
        return pd.Series([_unpack(i) for i in items], index=index, name=_unpack(v["name"]))
    if kind == "time":
        return pd.Timestamp(v["value"])
    if kind == "array":
        return np.array(_unpack(items) if isinstance(items, dict) else [_unpack(i) for i in items])
    if kind == "dict":
        return {_unpack(k): _unpack(x) for k, x in items}
    return {"list": list, "tuple": tuple, "set": set}[kind](_unpack(i) for i in items)
_values = {}
for _name, _packed in json.loads(_text).items():
    try:
        _values[_name] = _unpack(_packed)
    except Exception:
        pass
_outputs = []
for _check in json.loads(_checks):
    try:
        exec(_check, {"pd": pd, "np": np, "math": math, **_values})
        _outputs.append({"value": True})
    except Exception as error:
        _outputs.append({"error": type(error).__name__ + ": " + str(error)[:80]})
"""


def names_in(checks: Iterable[str]) -> tuple[str, ...]:
    """The variables that asserts look at: free names that are neither built in nor modules the judge has."""
    known = {*dir(builtins), "pd", "np", "math"}
    trees = [ast.parse(check) for check in checks]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {name.asname or name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return tuple(sorted(loaded - stored - known))


async def judge(checks: tuple[str, ...], sandbox: Sandbox, backend: SandboxBackend) -> JsonValue:
    """One output per check, ``{"value": True}`` where it holds.

    Args:
        checks: Asserts of the project's or of a data set, never a model's.
        sandbox: Where model code left its variables.
        backend: Opens the sandbox in which the checks run.
    """
    text = await _packed(names_in(checks), sandbox)
    async with await backend.open(SandboxSpec()) as fresh:
        await fresh.execute("_text = ''")
        for start in range(0, len(text), _PART):
            await fresh.execute(f"_text += {text[start : start + _PART]!r}")
        result = await fresh.execute(f"_checks = {json.dumps(checks)!r}\n{_JUDGE}")
        if result.status != "ok":
            return None
        return await fresh.value("_outputs")


async def _packed(names: tuple[str, ...], sandbox: Sandbox) -> str:
    """The variables as text; an empty object when model code made packing impossible."""
    await sandbox.execute(_PACK.format(names=list(names), part=_PART))
    parts: list[str] = []
    try:
        count = await sandbox.value("_count")
        for number in range(count if isinstance(count, int) and count <= _MAX_PARTS else 0):
            await sandbox.execute(f"_part = _parts[{number}]")
            part = await sandbox.value("_part")
            parts.append(part if isinstance(part, str) else "")
    except (KeyError, ValueError):  # the policy's doing: there is nothing to judge
        return "{}"
    return "".join(parts) or "{}"
