"""SQLite databases that sources serve: built once into the cache, read by the sandbox through ``sql(query)``.

A database is a pure function of what names it, so several processes may ask for it at once: one builds under a file
lock into a temporary file, which is then renamed; the others wait and find it. The host and the sandbox read
``current_time`` in a query as the source's fixed "now", as EHRSQL's own scorer does.
"""

import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from copilot.reward.answers import Scalar

_PREAMBLE = '''
def sql(query, _db="file:/data/ehr.db?mode=ro&immutable=1", _now="{now}"):
    """Run a query: one cell as a scalar, one column as a list, else a list of rows."""
    import sqlite3
    con = sqlite3.connect(_db, uri=True)
    try:
        rows = con.execute(query.replace("current_time", "'" + _now + "'")).fetchall()
    finally:
        con.close()
    if len(rows) == 1 and len(rows[0]) == 1:
        return rows[0][0]
    return [r[0] for r in rows] if rows and len(rows[0]) == 1 else [list(r) for r in rows]
'''


def preamble(now: str) -> str:
    """Python that defines ``sql(query)`` over ``/data/ehr.db``; it prints nothing."""
    return _PREAMBLE.format(now=now).strip() + "\n"


def cache_folder() -> Path:
    """Where what can be rebuilt is kept: ``$MED_COPILOT_HOME`` or ``~/.cache/med-copilot``."""
    return Path(os.environ.get("MED_COPILOT_HOME") or Path.home() / ".cache" / "med-copilot").absolute()


def build_once(target: Path, build: Callable[[sqlite3.Connection], None]) -> Path:
    """The database file ``target``, built by ``build`` if it is not there yet.

    Args:
        target: Final path; its name must change whenever its content would.
        build: Fills an empty database.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            temporary = target.with_suffix(".building")
            temporary.unlink(missing_ok=True)
            with closing(sqlite3.connect(temporary)) as con:
                con.execute("PRAGMA journal_mode=OFF")
                build(con)
                con.commit()
                con.execute("VACUUM")
            temporary.chmod(0o444)
            os.replace(temporary, target)
    return target


@contextmanager
def open_readonly(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection for trusted SQL on the host (gold queries, slot values)."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as con:
        yield con


def run_trusted(con: sqlite3.Connection, query: str, *, now: str) -> list[tuple[Scalar, ...]]:
    """Rows of a query that the project or a data set wrote; never one a model wrote."""
    return con.execute(re.sub(r"\bcurrent_time\b", f"'{now}'", query)).fetchall()
