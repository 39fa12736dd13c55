"""Tables in README and docs, written from records so that no figure is typed by hand.

A block begins with ``<!-- NAME -->`` and ends with ``<!-- /NAME -->``; what is between them is replaced.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill_blocks(path: Path, blocks: Mapping[str, str]) -> None:
    """Replace each block that the file has."""
    text = path.read_text(encoding="utf-8")
    for name, body in blocks.items():
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        text = pattern.sub(lambda _, name=name, body=body: f"<!-- {name} -->\n{body}\n<!-- /{name} -->", text)  # type: ignore[misc]
    path.write_text(text, encoding="utf-8")


def origin_line(record: Mapping[str, Any]) -> str:
    """Where the figures of a results file come from, in a line."""
    made = f"`{record['command']}` at {record['commit']}, {record['machine']}"
    return f"{made}, seed {record['seed']}, {record['date']}."
