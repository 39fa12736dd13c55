"""CSV tables as one SQLite file, built once per content; names of tables and columns become lower case."""

import csv
import functools
import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from copilot.envs.data_folder import open_text
from copilot.envs.sqlite_files import build_once, cache_folder, open_readonly

Types = Mapping[str, str]
"""Column name to ``INT`` or ``REAL``; other columns are ``TEXT``."""


def database_of(source: str, tables: Mapping[str, Path], types: Types, indexed: Sequence[str]) -> Path:
    """The database of CSV files, by table; empty cells are nulls.

    Args:
        source: Name of the cache folder.
        tables: Table to CSV file.
        types: Columns that are not text, in all tables.
        indexed: Columns to index wherever they are.
    """
    stamps = tuple((name, path, path.stat().st_mtime_ns, path.stat().st_size) for name, path in tables.items())
    target = cache_folder() / "data" / source / _digest_of(stamps) / "ehr.db"
    return build_once(target, functools.partial(_load, tables=tables, types=types, indexed=indexed))


@functools.lru_cache(maxsize=16)
def _digest_of(stamps: tuple[tuple[str, Path, int, int], ...]) -> str:
    """Of the files' bytes; read again only when a file has another time or size."""
    return content_digest({name: path for name, path, _, _ in stamps})


def content_digest(files: Mapping[str, Path]) -> str:
    """Sixteen hex digits that change with the names and bytes of files."""
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _load(con: sqlite3.Connection, *, tables: Mapping[str, Path], types: Types, indexed: Sequence[str]) -> None:
    for table, path in tables.items():
        with open_text(path) as file:
            rows = csv.reader(file)
            names = [name.lower() for name in next(rows)]
            columns = ", ".join(f"{name} {types.get(name, 'TEXT')}" for name in names)
            con.execute(f"CREATE TABLE {table.lower()} ({columns})")
            con.executemany(
                f"INSERT INTO {table.lower()} VALUES ({', '.join('?' * len(names))})",
                ([cell if cell != "" else None for cell in row] for row in rows),
            )
            for name in indexed:
                if name in names:
                    con.execute(f"CREATE INDEX {table.lower()}_{name} ON {table.lower()} ({name})")


def schema(database: Path, *, leave_out: Sequence[str] = ("row_id",)) -> str:
    """``table(column, ...)``, a line per table."""
    with open_readonly(database) as con:
        names = [row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY 1")]
        columns = {n: [c[1] for c in con.execute(f"PRAGMA table_info({n})") if c[1] not in leave_out] for n in names}
    return "\n".join(f"{name}({', '.join(found)})" for name, found in columns.items())
