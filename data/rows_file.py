"""Reading the rows a build stage wrote."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from copilot.errors import DataError


def read_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a ``rows.jsonl``.

    Raises:
        DataError: No such file, an empty one, or a line that is no row: a build writes its file whole, so this one was
            altered or cut.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such rows file", where=path, remedy="run the recipe's build stage first")
    number = 0
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError("a line is no JSON", where=f"{path}:{number}", remedy="build the rows again") from error
            if not isinstance(row, dict) or not {"task_id"} < row.keys():
                raise DataError("a line is no training row", where=f"{path}:{number}", remedy="build the rows again")
            yield row
    if number == 0:
        raise DataError("the rows file is empty", where=path, remedy="build the rows again")
