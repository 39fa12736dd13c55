"""``request_info``: a small trusted program that runs inside the sandbox and reads what lies under ``/data``.

It knows CSV files and SQLite databases, prints one JSON object, and leaves no name behind in the episode's namespace.
What it prints comes from a place the policy controls, so it is read as hostile text: at worst the policy fools itself.
"""

from collections.abc import Mapping, Sequence

from copilot.envs.actions import RequestInfo

PROGRAM = r'''
import csv, difflib, glob, json, os, sqlite3

LIMIT, SCANNED, SHOWN = 200, 200000, 30

def quoted(name):
    return '"' + name.replace('"', '""') + '"'

def tables(wanted):
    """Yield (name, columns, distinct) of the tables asked for; distinct(column) iterates its values."""
    wanted = os.path.basename(wanted.strip()).lower()
    for path in sorted(glob.glob(os.path.join(ROOT, "**", "*"), recursive=True)):
        base = os.path.basename(path)
        if base.lower().endswith(".csv") and wanted in ("", base.lower(), base.lower()[:-4]):
            with open(path, newline="", errors="replace") as file:
                columns = next(csv.reader(file), [])
            yield base[:-4], columns, lambda column, path=path, columns=columns: csv_values(path, columns.index(column))
        elif base.lower().endswith((".db", ".sqlite", ".sqlite3")):
            base_wanted = wanted in ("", base.lower(), base.lower().rsplit(".", 1)[0])
            link = sqlite3.connect("file:" + path + "?mode=ro&immutable=1", uri=True)
            names = [row[0] for row in link.execute("SELECT name FROM sqlite_master WHERE type IN ('table','view')")]
            for name in sorted(names):
                if base_wanted or wanted == name.lower():
                    columns = [row[1] for row in link.execute("PRAGMA table_info(" + quoted(name) + ")")]
                    yield name, columns, lambda column, link=link, name=name: db_values(link, name, column)
            link.close()

def csv_values(path, index):
    seen = set()
    with open(path, newline="", errors="replace") as file:
        rows = csv.reader(file)
        next(rows, None)
        for number, row in enumerate(rows):
            if number >= SCANNED:
                return
            if index < len(row) and row[index] != "" and row[index] not in seen:
                seen.add(row[index])
                yield row[index]

def db_values(link, name, column):
    query = "SELECT DISTINCT {0} FROM {1} WHERE {0} IS NOT NULL LIMIT {2}".format(quoted(column), quoted(name), SCANNED)
    for (value,) in link.execute(query):
        yield value if isinstance(value, (int, float, str)) else str(value)

def column_names(path, term):
    return {name: columns for name, columns, _ in tables(path)}

def column_values(path, term):
    found = {}
    for name, columns, distinct in tables(path):
        for column in columns:
            if column.lower() == term.strip().lower():
                values = []
                for value in distinct(column):
                    values.append(value)
                    if len(values) > SHOWN:
                        break
                found[name + "." + column] = values[:SHOWN] + (["..."] if len(values) > SHOWN else [])
    return found

def search(path, term):
    """Columns that hold the text; where none does, the nearest values."""
    exact, near, wanted = {}, {}, term.strip().lower()
    for name, columns, distinct in tables(path):
        for column in columns:
            for value in distinct(column):
                text = str(value).lower()
                if text == wanted:
                    exact.setdefault(name + "." + column, []).append(value)
                elif len(text) < LIMIT and len(near) < SCANNED and any(map(str.isalpha, text)):
                    near.setdefault(str(value), name + "." + column)
    if exact:
        return exact
    inside = [value for value in near if wanted in value.lower()][:5]
    lowered = {value.lower(): value for value in near}
    close = [lowered[text] for text in difflib.get_close_matches(wanted, list(lowered), n=5, cutoff=0.6)]
    return {"nearest": {value: near[value] for value in dict.fromkeys(inside + close)}}

print(json.dumps({"column_names": column_names, "column_values": column_values, "term": search}[KIND](PATH, TERM)))
'''


def cell(request: RequestInfo, *, root: str = "/data") -> str:
    """The Python cell that answers ``request``; it prints one JSON object and defines nothing."""
    given = {"KIND": request.info_type, "PATH": request.data_path, "TERM": request.keyterm, "ROOT": root}
    return f"exec(compile({PROGRAM!r}, '<request_info>', 'exec'), {given | {'__name__': 'request_info'}!r})"


def describe(request: RequestInfo, found: object) -> str:
    """The program's object as a few lines for the policy."""
    if not isinstance(found, Mapping) or not found:
        return f"nothing found for {request.info_type} {request.data_path} {request.keyterm}".rstrip()
    nearest = found.get("nearest")
    if isinstance(nearest, Mapping):
        if not nearest:
            return f"{request.keyterm!r} was not found, and nothing near it"
        return f"{request.keyterm!r} was not found; nearest: " + ", ".join(f"{v!r} in {c}" for v, c in nearest.items())
    return "\n".join(f"{name}: {_listed(values)}" for name, values in found.items())


def _listed(values: object) -> str:
    listed = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    return ", ".join(map(str, listed))
