"""Gold SQL as EHRSQL publishes it: made runnable, masked to its template, sorted into kinds of questions.

Upstream's files carry SQL in lower case, ``strftime`` formats included, and names instead of normal ranges; its own
scorer mends both before a query runs, and so does :func:`clean_sql`.
"""

import hashlib
import re

NULL = "null"
"""Upstream's mark of an unanswerable question."""

_NORMAL_RANGES = {
    "temperature": (35.5, 38.1),
    "sao2": (95.0, 100.0),
    "heart_rate": (60.0, 100.0),
    "respiration": (12.0, 18.0),
    "systolic_bp": (90.0, 120.0),
    "diastolic_bp": (60.0, 90.0),
    "mean_bp": (60.0, 110.0),
}
"""What upstream puts for ``temperature_lower`` and the like in gold SQL."""

_FORMATS = {"%y": "%Y", "%j": "%J"}
_LITERAL = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|(?<![\w.])\d+(?:\.\d+)?")

_BOOLEAN = re.compile(r"^\s*select (?:count\s*\([^)]*\)\s*>\s*0|exists\b|\( select .*\) ?[<>] ?\( ?select)")
_KINDS = (
    ("yes or no", _BOOLEAN),
    ("survival rate", re.compile(r"\* 100 / count")),
    ("top of a ranking", re.compile(r"dense_rank\s?\(|percent_rank\s?\(")),
    ("count", re.compile(r"^select count\s*\(")),
    ("time passed", re.compile(r"^select .{0,30}strftime\('%j',\s?current_time\)")),
    ("difference", re.compile(r"^select \( select .*\) ?-")),
    ("aggregate", re.compile(r"^select (?:sum|avg|min|max)\s*\(")),
    ("length of stay", re.compile(r"^select .{0,30}strftime\('%j',")),
)


def clean_sql(sql: str) -> str:
    """Gold SQL in runnable form: white space, date formats, and numbers for upstream's names of normal ranges."""
    for name, (low, high) in _NORMAL_RANGES.items():
        sql = sql.replace(f"{name}_lower", str(low)).replace(f"{name}_upper", str(high))
    for wrong, right in _FORMATS.items():
        sql = sql.replace(wrong, right)
    return re.sub(r"\s+", " ", sql).strip()


def masked(sql: str) -> str:
    """The query without its literals: what instances of one template have in common."""
    return re.sub(r"\s+", " ", _LITERAL.sub("?", sql)).strip().lower()


def template_key(text: str) -> str:
    """A short name of a masked query or question."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def asks_yes_or_no(sql: str) -> bool:
    """Whether the query's one cell is a truth value."""
    return bool(_BOOLEAN.match(sql.lower()))


def kind_of(sql: str) -> str:
    """Which of nine kinds of questions the query answers; empty SQL: ``unanswerable``."""
    if not sql or sql == NULL:
        return "unanswerable"
    text = re.sub(r"\s+", " ", sql).strip().lower()
    return next((name for name, pattern in _KINDS if pattern.search(text)), "lookup")
