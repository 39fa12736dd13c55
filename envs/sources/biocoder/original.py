"""The original: functions to be put into a program, which then prints a result.

Upstream compares what the whole program prints with what it prints with upstream's own function in place. Here both
programs run in fresh sandboxes of their own and the texts are compared on the host; imports that the sandbox lacks are
skipped (most programs import far more than they use), and the function is indented to its place.
"""

import ast
import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from copilot.envs.data_folder import data_root, existing, read_json_lines
from copilot.envs.hidden_inputs import MAX_CODE
from copilot.envs.sandboxes.base import SandboxBackend, SandboxSpec
from copilot.errors import DataError

FOLDERS = ("biocoder", "BioCoder", "MedAgentGym/data/biocoder")
"""Names looked for under ``$MED_COPILOT_DATA``."""
MARKER = "<<insert solution here>>"
_FIELDS = ("idx", "problem", "solution", "context", "signature")
_SECONDS = 20.0


@dataclass(frozen=True)
class Item:
    """One upstream function."""

    key: str
    problem: str
    signature: str
    context: str
    solution: str


@lru_cache(maxsize=2)
def read(split: str) -> tuple[tuple[Item, ...], Counter[str]]:
    """The functions of a split, and how many lines are no such thing, by reason.

    Raises:
        DataError: The file is not there.
    """
    path = _path(split)
    dropped: Counter[str] = Counter()
    malformed: list[int] = []
    items = [item for record in read_json_lines(path, malformed=malformed) if (item := _item(record, dropped))]
    if malformed:
        dropped["malformed line"] += len(malformed)
    return tuple(items), dropped


def _path(split: str) -> Path:
    root = data_root("biocoder")
    name = f"{split}_tasks.jsonl"
    found = [path for folder in FOLDERS if (path := existing(root / folder / name))]
    if not found:
        raise DataError(
            f"no {name} of BioCoder",
            where=root,
            remedy=f"one of {', '.join(FOLDERS)} must hold it; med-copilot tasks fetch biocoder says how to get it",
        )
    return found[0]


def _item(record: dict[str, Any], dropped: Counter[str]) -> Item | None:
    if any(not isinstance(record.get(name), str) for name in _FIELDS):
        dropped["fields are missing"] += 1
    elif MARKER not in record["context"]:
        dropped["no place for the function"] += 1
    elif _name(record["signature"]) is None:
        dropped["no function is named"] += 1
    else:
        return Item(record["idx"][:16], record["problem"], record["signature"], record["context"], record["solution"])
    return None


def _name(signature: str) -> str | None:
    match = re.search(r"(?:def|class)\s+(\w+)", signature)
    return match.group(1) if match else None


def assemble(context: str, function: str) -> str:
    """The program with the function in its place, at the marker's indentation, and imports that may fail."""
    lines = []
    for line in context.replace("\r\n", "\n").split("\n"):
        if MARKER in line:
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(textwrap.indent(textwrap.dedent(function), indent))
        else:
            lines.append(line)
    return _tolerant("\n".join(lines))


def _tolerant(program: str) -> str:
    try:
        tree = ast.parse(program)
    except SyntaxError:  # the sandbox says so
        return program
    guarded = [
        ast.Try(body=[node], handlers=_skip(), orelse=[], finalbody=[])
        if isinstance(node, ast.Import | ast.ImportFrom) and not _from_future(node)
        else node
        for node in tree.body
    ]
    return ast.unparse(ast.fix_missing_locations(ast.Module(body=guarded, type_ignores=[])))


def _skip() -> list[ast.ExceptHandler]:
    return [ast.ExceptHandler(type=ast.Name(id="ImportError", ctx=ast.Load()), name=None, body=[ast.Pass()])]


def _from_future(node: ast.Import | ast.ImportFrom) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


async def outputs(item: Item, submitted: JsonValue, backend: SandboxBackend) -> JsonValue:
    """Whether the program prints the same with the submitted function as with upstream's own."""
    if not isinstance(submitted, str) or not submitted.strip() or len(submitted) > MAX_CODE:
        return None
    wanted = await _printed(assemble(item.context, item.solution), backend)
    got = await _printed(assemble(item.context, submitted), backend)
    if wanted is None:
        return [{"error": "upstream's own function fails here"}]
    if got is None:
        return [{"error": "the program fails"}]
    return [{"value": got == wanted}]


async def _printed(program: str, backend: SandboxBackend) -> str | None:
    async with await backend.open(SandboxSpec()) as sandbox:
        result = await sandbox.execute(program, timeout=_SECONDS)
    return result.stdout.strip() or None if result.status == "ok" else None
