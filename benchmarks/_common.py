"""What every benchmark shares: the one JSON form its results have on disk, and their table.

``benchmarks/results/NAME.json``: ``{"command", "commit", "machine", ..., "summary": {figure: number}, "rows": [...]}``;
README's numbers are read from these files.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from copilot.recipe.folder import write_json
from copilot.report.provenance import ROOT, provenance

RESULTS = Path(__file__).resolve().parent / "results"

Row = Mapping[str, Any]


def write_result(
    name: str, *, summary: Mapping[str, float], rows: Sequence[Row], seed: int, results: Path = RESULTS
) -> Path:
    """Write ``results/NAME.json`` whole or not at all, and print its table.

    Args:
        name: Of the benchmark.
        summary: The figures that are promised and compared.
        rows: Flat records, the table's lines; keys are its columns.
        seed: Of the run.
        results: Folder.

    Returns:
        The file.
    """
    command = " ".join(["python", *(os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:])])
    record = provenance(seed=seed, command=command) | {"summary": dict(summary), "rows": [dict(row) for row in rows]}
    results.mkdir(parents=True, exist_ok=True)
    target = results / f"{name}.json"
    write_json(target, record)
    print_table(name, rows)
    Console().print({key: round(value, 5) for key, value in summary.items()})
    return target


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print flat records as a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*[_cell(row.get(column)) for column in columns])
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
