"""Training rows as the ``build`` stage writes them, checked and cut to length; every row left out is counted.

A row is token-exact: ids and what is trained on come from the trajectory store, nothing is re-tokenised here.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from copilot.errors import DataError, EmptyDatasetError

Row = dict[str, Any]
"""A JSON row; see :data:`SHAPES` for its lists."""
Format = Literal["sft", "dpo", "kto", "verifier"]
"""Row formats."""

SHAPES: dict[Format, tuple[tuple[str, ...], ...]] = {
    "sft": (("input_ids", "labels"),),
    "dpo": (("prompt_ids",), ("chosen_ids", "chosen_mask"), ("rejected_ids", "rejected_mask")),
    "kto": (("prompt_ids",), ("completion_ids", "completion_mask")),
    "verifier": (("input_ids",),),
}
"""The lists of each format; those in one tuple have the same length."""
LABELLED: frozenset[Format] = frozenset({"kto", "verifier"})
"""Formats whose rows have a boolean ``label``."""


@dataclass
class RowReport:
    """What became of the rows of a file."""

    read: int = 0
    """Rows in the file."""
    kept: int = 0
    """Rows trained on."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows left out, by reason."""
    truncated: int = 0
    """Rows kept but cut at the end."""
    tokens: int = 0
    """Tokens of the rows kept."""
    trained_tokens: int = 0
    """Tokens of the rows kept that carry loss."""

    def as_json(self) -> dict[str, Any]:
        """For the report file and for error messages."""
        return {**vars(self), "dropped": dict(self.dropped)}


def load_rows(
    path: Path, kind: Format, *, max_tokens: int, too_long: Literal["drop", "truncate"]
) -> tuple[list[Row], RowReport]:
    """Read, check and cut the rows of a file.

    Args:
        path: JSON lines.
        kind: Their format.
        max_tokens: Longest sequence, prompt included.
        too_long: What happens to longer ones.

    Raises:
        DataError: The file is missing or a row does not have the format's shape; names file and line.
        EmptyDatasetError: Nothing is left; the message carries the counts.
    """
    report, kept = RowReport(), []
    cut = _CUTTERS[kind]
    for row in _read(path, kind):
        report.read += 1
        fitted = cut(row, max_tokens)
        if fitted is not row and too_long == "drop":
            report.dropped[f"longer than {max_tokens} tokens"] += 1
        elif not all(trained_counts(fitted, kind)):
            report.dropped["nothing to train on" if fitted is row else "nothing to train on after the cut"] += 1
        else:
            report.truncated += fitted is not row
            report.tokens += row_length(fitted, kind)
            report.trained_tokens += sum(trained_counts(fitted, kind))
            kept.append(fitted)
    report.kept = len(kept)
    if not kept:
        raise EmptyDatasetError(
            f"no {kind} rows to train on: {report.as_json()}",
            where=path,
            remedy="loosen the filters of the build stage, sample more, or raise training.max_tokens",
        )
    return kept, report


def row_length(row: Row, kind: Format) -> int:
    """Tokens a row costs: both sequences of a pair, prompt included twice."""
    if kind in ("sft", "verifier"):
        return len(row["input_ids"])
    if kind == "dpo":
        return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
    return len(row["prompt_ids"]) + len(row["completion_ids"])


def trained_counts(row: Row, kind: Format) -> list[int]:
    """Tokens with loss in each sequence of the row. The first token of a sequence cannot be predicted."""
    if kind == "sft":
        return [sum(label != -100 for label in row["labels"][1:])]
    if kind == "dpo":
        return [sum(row["chosen_mask"]), sum(row["rejected_mask"])]
    if kind == "verifier":
        return [1]  # the label
    return [sum(row["completion_mask"])]


def _read(path: Path, kind: Format) -> Iterator[Row]:
    if not path.is_file():
        raise DataError("no such rows file", where=path, remedy="run the build stage, or name its output")
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"line is not JSON: {error}", where=f"{path}:{number}") from error
            yield _checked(row, kind, f"{path}:{number}")


def _checked(row: Row, kind: Format, where: str) -> Row:
    missing = [name for names in SHAPES[kind] for name in names if not isinstance(row.get(name), list)]
    if missing or (kind in LABELLED and not isinstance(row.get("label"), bool)):
        raise DataError(f"not a {kind} row (missing: {missing or ['label']})", where=where, remedy=f"build {kind} rows")
    for names in SHAPES[kind]:
        if len({len(row[name]) for name in names}) != 1:
            raise DataError(f"{' and '.join(names)} differ in length", where=where)
    if "prompt_ids" in SHAPES[kind][0] and not row["prompt_ids"]:
        raise DataError("empty prompt_ids: the first completion token could not be predicted", where=where)
    return row


def _cut_sft(row: Row, limit: int) -> Row:
    if len(row["input_ids"]) <= limit:
        return row
    return {**row, "input_ids": row["input_ids"][:limit], "labels": row["labels"][:limit]}


def _keep(row: Row, limit: int) -> Row:
    """Verifier rows were cut where they were encoded, at the front."""
    return row if len(row["input_ids"]) <= limit else {**row, "input_ids": []}


def _cut_completions(*names: str) -> Callable[[Row, int], Row]:
    def cut(row: Row, limit: int) -> Row:
        room = max(0, limit - len(row["prompt_ids"]))
        if all(len(row[f"{name}_ids"]) <= room for name in names):
            return row
        return {**row, **{key: row[key][:room] for name in names for key in (f"{name}_ids", f"{name}_mask")}}

    return cut


_CUTTERS: dict[Format, Callable[[Row, int], Row]] = {
    "sft": _cut_sft,
    "dpo": _cut_completions("chosen", "rejected"),
    "kto": _cut_completions("completion"),
    "verifier": _keep,
}
