"""The offline debugger: where a cell failed, why, and which known name was probably meant.

Decision: rules over the exception's text, no model: an answer to ``debug`` is free, instant and the same on every
machine. Invariant: pure and total: it never runs code, never raises on what a cell printed, and never says more than
``max_chars`` characters. It knows table, column and value names that the policy may see, never the reference.
"""

import ast
import builtins
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from copilot.envs.sandboxes.base import CellResult

_IMPORTS = {
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "plt": "matplotlib is not needed",
    "sqlite3": "import sqlite3",
    "math": "import math",
    "re": "import re",
    "json": "import json",
    "datetime": "from datetime import datetime",
    "timedelta": "from datetime import timedelta",
    "sqrt": "from math import sqrt",
    "log": "from math import log",
    "exp": "from math import exp",
}
_SQL_FUNCTIONS = {
    "year": "strftime('%Y', t)",
    "month": "strftime('%m', t)",
    "day": "strftime('%d', t)",
    "hour": "strftime('%H', t)",
    "now": "datetime('now')",
    "curdate": "date('now')",
    "datediff": "julianday(a) - julianday(b)",
    "timestampdiff": "julianday(a) - julianday(b)",
    "date_sub": "datetime(t, '-1 day')",
    "date_add": "datetime(t, '+1 day')",
    "concat": "a || b",
    "median": "fetch the column and use statistics.median",
    "stddev": "fetch the column and use statistics.stdev",
    "date_trunc": "strftime or datetime(t, 'start of month')",
    "to_date": "date(t)",
    "extract": "strftime",
    "greatest": "max(a, b)",
    "least": "min(a, b)",
}
_EMPTY = frozenset({"[]", "None", "()", "{}", "[None]", "[(None,)]", "[[None]]", "nan", "Series([], )", "[()]"})


@dataclass(frozen=True)
class _Case:
    """All a rule may look at."""

    code: str
    line: str
    names: Mapping[str, Sequence[str]]
    values: Mapping[str, Sequence[str]]

    @property
    def columns(self) -> list[str]:
        return sorted({column for columns in self.names.values() for column in columns})


class OfflineDebugger:
    """Explains a failed (or empty) cell by rules.

    Args:
        max_chars: Longest explanation.
    """

    def __init__(self, max_chars: int = 400) -> None:
        self.max_chars = max_chars

    def explain(
        self,
        code: str,
        result: CellResult | None,
        *,
        names: Mapping[str, Sequence[str]],
        values: Mapping[str, Sequence[str]] | None = None,
    ) -> str:
        """Where and why a cell failed, with the nearest known names.

        Args:
            code: The cell.
            result: How it ended; ``None`` when it never ran (then only its syntax is checked).
            names: Columns by table, as the policy may see them.
            values: Known values by column name, for look-ups of misspelt text.

        Returns:
            At most ``max_chars`` characters: the failing line, the error, one piece of advice.
        """
        text = self._explain(code, result, names, values or {})
        return text if len(text) <= self.max_chars else text[: self.max_chars - 3] + "..."

    def _explain(
        self,
        code: str,
        result: CellResult | None,
        names: Mapping[str, Sequence[str]],
        values: Mapping[str, Sequence[str]],
    ) -> str:
        if result is None:
            return _explain_syntax(code) or "The syntax is fine and nothing has failed yet: run the code."
        if result.status in _ENDINGS:
            return _ENDINGS[result.status]
        if result.status == "ok":
            return _explain_empty(_Case(code, "", names, values), result.stdout)
        error = _error_text(result)
        number = result.error_line or _line_of_traceback(result.stderr)
        line = _line(code, number)
        where = f"Line {number}: {_clip(line.strip(), 90)}\n" if line.strip() else ""
        return f"{where}{_clip(error, 140)}\n{_advise(error, _Case(code, line, names, values))}".strip()


_ENDINGS = {
    "timeout": "The code ran too long. Filter in SQL (WHERE, LIMIT), join on keys, and avoid loops over rows.",
    "memory": "The code used too much memory. Select only the columns and rows you need.",
    "crashed": "The interpreter died and its variables are gone. Define everything again and run smaller steps.",
}


def _explain_syntax(code: str) -> str:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # whatever the parser makes of it
        number = error.lineno if isinstance(error, SyntaxError) else None
        line = _line(code, number)
        where = f"Line {number}: {_clip(line.strip(), 90)}\n" if line.strip() else ""
        return f"{where}{type(error).__name__}: {_clip(str(error), 100)}\n{_advise_syntax(code)}"
    return ""


def _error_text(result: CellResult) -> str:
    """``Type: message`` on one line, from the result's fields or else the traceback's last line."""
    if result.error_type:
        return " ".join(f"{result.error_type.split('.')[-1]}: {result.error_message}".split())
    lines = (result.error_message or result.stderr).strip().splitlines()
    return " ".join(lines[-1].split()) if lines else "The cell failed without a message."


def _line_of_traceback(stderr: str) -> int | None:
    found = re.findall(r'File "<[^"]*>", line (\d{1,6})', stderr)
    return int(found[-1]) if found else None


def _line(code: str, number: int | None) -> str:
    lines = code.splitlines()
    return lines[number - 1] if number and 0 < number <= len(lines) else ""


def _clip(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 3] + "..."


Rule = Callable[["re.Match[str]", _Case], str]


def _advise(error: str, case: _Case) -> str:
    for pattern, rule in _RULES:
        if match := pattern.search(error):
            return rule(match, case)
    return "Print the values used on that line and check their types."


def near(name: str, known: Sequence[str], count: int = 3) -> list[str]:
    """Known names close to ``name``, closest first: same without case and marks, then containing it, then similar."""
    plain = {re.sub(r"\W|_", "", item).casefold(): item for item in known}
    key = re.sub(r"\W|_", "", name).casefold()
    same = [plain[key]] if key in plain else []
    holding = [item for short, item in plain.items() if len(key) > 2 and (key in short or short in key) and short]
    similar = [plain[short] for short in difflib.get_close_matches(key, plain, n=count, cutoff=0.6)]
    return list(dict.fromkeys([*same, *similar, *sorted(holding, key=len)]))[:count]


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = near(name, known)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _no_table(match: "re.Match[str]", case: _Case) -> str:
    name = match[1].split(".")[-1]
    return _did_you_mean(name, list(case.names)) or f"Tables: {', '.join(case.names)}."


def _no_column(match: "re.Match[str]", case: _Case) -> str:
    column = match[1].split(".")[-1]
    homes = [table for table, columns in case.names.items() if column in columns]
    if homes:
        return f"{column} is a column of {', '.join(homes)}: join that table or use its alias."
    if f'"{column}"' in case.code:
        return f"Put text values in single quotes: '{column}'."
    close = near(column, case.columns)
    described = [f"{name} ({', '.join(t for t, columns in case.names.items() if name in columns)})" for name in close]
    if described:
        return f"Did you mean {' or '.join(described)}?"
    used = [table for table in case.names if re.search(rf"\b{re.escape(table)}\b", case.code)]
    return " ".join(f"Columns of {table}: {', '.join(case.names[table])}." for table in used) or "List the columns."


def _ambiguous(match: "re.Match[str]", case: _Case) -> str:
    homes = [table for table, columns in case.names.items() if match[1] in columns]
    example = f"{homes[0]}.{match[1]}" if homes else f"table.{match[1]}"
    return f"Several joined tables have {match[1]}: write {example} (or the alias)."


def _no_function(match: "re.Match[str]", case: _Case) -> str:
    instead = _SQL_FUNCTIONS.get(match[1].casefold())
    return (
        f"SQLite has no {match[1]}: use {instead}." if instead else f"SQLite has no {match[1]}: compute it in Python."
    )


def _no_name(match: "re.Match[str]", case: _Case) -> str:
    name = match[1]
    if name in _IMPORTS:
        return f"Add first: {_IMPORTS[name]}."
    if name in case.names:
        return f"{name} is a table of the database, not a variable: query it with SQL."
    if name in case.columns:
        return f"{name} is a column: quote it as text or select it in SQL."
    defined = re.findall(r"^\s*(\w+)\s*=[^=]|\bfor (\w+) in|\bdef (\w+)|import (\w+)", case.code, flags=re.MULTILINE)
    known = [item for group in defined for item in group if item and item != name]
    return _did_you_mean(name, [*known, *dir(builtins)]) or f"Assign {name} before that line."


def _no_key(match: "re.Match[str]", case: _Case) -> str:
    key = match[1].strip("'\"")
    return _did_you_mean(key, case.columns) or "Print the keys or columns (df.columns, d.keys()) and use one of them."


def _no_attribute(match: "re.Match[str]", case: _Case) -> str:
    kind, name = match[1], match[2]
    if kind == "NoneType":
        return "The object is None: the call before it returned nothing (a query without rows, or a missing return)."
    if kind in {"DataFrame", "Series"}:
        return _did_you_mean(name, case.columns) or "Print df.columns; select a column as df['name']."
    if kind in {"list", "tuple"}:
        return f"It is a {kind}: take an element first, such as [0]."
    return f"Look at the object first: print(type(x)); a {kind} has no .{name}."


def _wrong_types(match: "re.Match[str]", case: _Case) -> str:
    kinds = {match[1], match[2]}
    if "NoneType" in kinds:
        return "One side is None (a NULL, or a query without rows): check for None or filter it with IS NOT NULL."
    if "str" in kinds:
        return "One side is text: convert it with float(...) or int(...)."
    return f"Convert one side so that both fit: {match[1]} and {match[2]}. A query's result is rows: take rows[0][0]."


def _says(text: str) -> Rule:
    return lambda _match, _case: text


def _advise_syntax(code: str) -> str:
    if re.match(r"\s*(select|with)\b", code, flags=re.IGNORECASE):
        return "This is SQL: put it in a Python string and pass it to the database."
    if re.search(r"[“”‘’]", code):
        return "Replace the curly quotes with straight ones."
    if code.count('"""') % 2:
        return 'A """ string is not closed.'
    if code.count("(") != code.count(")"):
        missing = "not closed" if code.count("(") > code.count(")") else "closed too often"
        return f"A parenthesis is {missing}."
    if re.search(r"\bselect\b", code, flags=re.IGNORECASE) and "'" in code:
        return 'Put SQL in triple double quotes ("""...""") so that its quotes do not end the string.'
    return "Check quotes, brackets, colons and indentation on that line and the one before."


_RULES: tuple[tuple["re.Pattern[str]", Rule], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"no such table: ([\w.]+)", _no_table),
        (r"no such column: \"?([\w.]+)", _no_column),
        (r"has no column named (\w+)", _no_column),
        (r"ambiguous column name: (?:\w+\.)?(\w+)", _ambiguous),
        (r"no such function: (\w+)", _no_function),
        (
            r"near \"([^\"]*)\": syntax error",
            lambda m, _: f"The SQL breaks at or just before {m[1]!r}: check it there.",
        ),
        (r"misuse of aggregate|misuse of window", _says("Aggregates go into SELECT or HAVING, not into WHERE.")),
        (r"incomplete input", _says("The SQL stops too early: close its brackets and quotes.")),
        (r"unrecognized token", _says("Check the quotes in the SQL: text in single quotes, each one closed.")),
        (r"readonly database|not authorized", _says("The database is read-only: use SELECT only.")),
        (r"You can only execute one statement", _says("Run one SQL statement at a time.")),
        (r"unable to open database|FileNotFoundError", _says("Data files lie under /data: list them first.")),
        (r"Incorrect number of bindings", _says("Give one value for each ? as a tuple: (value,).")),
        (r"NameError: name '(\w+)' is not defined", _no_name),
        (r"UnboundLocalError", _says("The variable is used before it is assigned on every path.")),
        (r"KeyError: (.+)", _no_key),
        (r"AttributeError: '(\w+)' object has no attribute '(\w+)'", _no_attribute),
        (
            r"AttributeError: .*module '([\w.]+)' has no attribute '(\w+)'",
            lambda m, _: f"{m[1]} has no {m[2]}: check the spelling, or import the right module.",
        ),
        (
            r"ZeroDivisionError|division by zero",
            _says("The divisor is 0: print it. A count of 0 often means that the filter matched nothing."),
        ),
        (r"IndexError", _says("The list is shorter than that, often a query without rows: print it before indexing.")),
        (r"TypeError: unsupported operand.*'(\w+)' and '(\w+)'", _wrong_types),
        (r"TypeError: '.*' not supported between instances of '(\w+)' and '(\w+)'", _wrong_types),
        (r"TypeError: can only concatenate (str) .*\"(\w+)\"", _wrong_types),
        (r"TypeError: .*'NoneType' object is not", _says("The value is None: the call before it returned nothing.")),
        (
            r"TypeError: '(\w+)' object is not subscriptable",
            lambda m, _: f"A {m[1]} cannot be indexed: drop the [..] or index the rows it came from.",
        ),
        (
            r"TypeError: '(\w+)' object is not callable",
            lambda m, _: f"A {m[1]} is no function: a name was reused or an operator is missing before the bracket.",
        ),
        (r"TypeError: .*(argument|positional)", _says("Check the function's arguments: their number and names.")),
        (r"TypeError", _says("Print the types of the values on that line.")),
        (
            r"ValueError: could not convert string to float: (.*)",
            lambda m, _: f"{_clip(m[1], 40)} is no number: skip or clean such values first.",
        ),
        (r"ValueError: time data", _says("The date has another format, such as '%Y-%m-%d %H:%M:%S'.")),
        (r"truth value of a", _says("Use & and | with brackets for columns, or .any() and .all().")),
        (r"ValueError: math domain error", _says("The argument must be positive: print it.")),
        (r"ModuleNotFoundError: No module named '([\w.]+)'", lambda m, _: f"{m[1]} is not installed: do without it."),
        (r"(Syntax|Indentation|Tab)Error", lambda _, case: _advise_syntax(case.code)),
        (r"RecursionError", _says("The function calls itself without end: add a stop, or use a loop.")),
    )
)


def _explain_empty(case: _Case, stdout: str) -> str:
    """A cell that ran: is its result suspiciously empty, and which text in it may be misspelt?"""
    shown = stdout.strip()
    if not shown:
        return "The cell ran without an error and printed nothing: print(answer) to see the value."
    if shown not in _EMPTY and not shown.startswith("Empty DataFrame"):
        return "The cell ran without an error: look at its output, then submit."
    hints = [hint for column, text in _compared_texts(case.code) if (hint := _value_hint(column, text, case))]
    return " ".join(["The result is empty: no row matches every condition.", *hints[:2]])


def _compared_texts(code: str) -> list[tuple[str, str]]:
    """Pairs of column and text from conditions like ``drug = 'aspirin'`` or ``df['drug'] == 'aspirin'``."""
    pattern = r"(\w+)['\"]?\]?\)?\s*(?:==?|like|LIKE)\s*(?:lower\(|LOWER\()?(['\"])([^'\"\n]{1,80})\2"
    return [(column, text.strip("%")) for column, _, text in re.findall(pattern, code)]


def _value_hint(column: str, text: str, case: _Case) -> str:
    known = case.values.get(column, ())
    if text in known:
        return ""
    if close := near(text, known):
        return f"{column} has no {text!r}; near: {', '.join(map(repr, close))}."
    homes = [table for table, columns in case.names.items() if column in columns]
    if not homes:
        return ""
    stem = text.split()[0][:5] if text.split() else ""
    return f"Look up the values: SELECT DISTINCT {column} FROM {homes[0]} WHERE {column} LIKE '%{stem}%'."
