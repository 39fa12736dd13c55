"""What every benchmark shares: where it ran, on which commit, and the one JSON form its results have on disk.

``benchmarks/results/NAME.json``: ``{"command", "commit", "machine", "seed", "date", "summary": {figure: number},
"rows": [...]}``; README's numbers are read from these files.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

Row = Mapping[str, Any]


def machine() -> str:
    """Processor, cores, memory and GPUs, in a line."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if "model name" in line), "")
    vectors = "AVX-512" if "avx512f" in info else "AVX2" if "avx2" in info else "no AVX2"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{model or platform.machine()} ({vectors}), {os.cpu_count()} cores, {memory:.0f} GiB", *_gpus()]
    return ", ".join(parts)


def commit() -> str:
    """Short hash of the checkout; ``-dirty`` when tracked files differ from it."""
    head = _git("rev-parse", "--short", "HEAD") or "none"
    return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else head


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
    record = {
        "command": " ".join(["python", *(os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:])]),
        "commit": commit(),
        "machine": machine(),
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "summary": dict(summary),
        "rows": [dict(row) for row in rows],
    }
    results.mkdir(parents=True, exist_ok=True)
    target, partial = results / f"{name}.json", results / f".{name}.json.partial"
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, target)
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


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _git(*arguments: str) -> str:
    # Empty outside a checkout, and in one that belongs to somebody else.
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
