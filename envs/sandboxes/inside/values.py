"""A Python value as JSON: what a variable of the sandbox looks like from outside.

None, NaN, NaT and NA are null; infinities the texts "Infinity" and "-Infinity"; dates ISO 8601 with a space before
the time; time spans seconds; arrays, series and indexes lists; a table a list of rows; sets sorted lists; dictionary
keys texts. Depth and size are limited. This runs beside hostile code, so its result is data to be checked again.
"""

import datetime
import decimal
import fractions
import json
import math
import sys
from typing import Any

MAX_DEPTH = 32
MAX_ITEMS = 200_000
MAX_BYTES = 1 << 20
_BIGGEST = 10**300
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class NoJsonForm(ValueError):
    """The value cannot leave the sandbox; the message says why."""


def dump(value: Any) -> str:
    """``value`` as JSON text of at most :data:`MAX_BYTES`.

    Raises:
        NoJsonForm: No JSON form, or too deep or too large.
    """
    text = _encode(_Converter().convert(value, 0))
    if len(text) > MAX_BYTES:
        raise NoJsonForm(f"{len(text)} bytes as JSON, limit {MAX_BYTES}")
    return text


def check(text: str) -> Any:
    """Parse JSON text of a hostile sender within the limits.

    Raises:
        NoJsonForm: Not JSON, too deep or too large.
    """
    if len(text) > MAX_BYTES:
        raise NoJsonForm("too large")
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NoJsonForm("not JSON") from error
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_DEPTH + 1:
            raise NoJsonForm("nested too deeply")
        if type(item) is list:
            stack += [(child, depth + 1) for child in item]
        elif type(item) is dict:
            stack += [(child, depth + 1) for child in item.values()]
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


class _Converter:
    def __init__(self) -> None:
        self.items = 0

    def convert(self, value: Any, depth: int) -> Any:
        self.items += 1
        if depth > MAX_DEPTH:
            raise NoJsonForm(f"nested more than {MAX_DEPTH} deep")
        if self.items > MAX_ITEMS:
            raise NoJsonForm(f"more than {MAX_ITEMS} items")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return str.__str__(value).encode("utf-8", "replace").decode()
        if isinstance(value, int):
            return _whole(int.__int__(value))
        if isinstance(value, float):
            return _real(float.__float__(value))
        if isinstance(value, dict):
            return {self.key(k): self.convert(v, depth + 1) for k, v in dict.items(value)}
        if isinstance(value, list | tuple | range | type({}.values()) | type({}.keys())):
            return [self.convert(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((self.convert(item, depth + 1) for item in value), key=json.dumps)
        return self.library(value, depth)

    def library(self, value: Any, depth: int) -> Any:
        """Dates, decimals and the values of numpy, pandas and sqlite3."""
        pandas, numpy, sqlite3 = (sys.modules.get(name) for name in ("pandas", "numpy", "sqlite3"))
        if pandas is not None:
            if value is pandas.NA or value is pandas.NaT:
                return None
            if isinstance(value, pandas.DataFrame):
                columns = [value.iloc[:, i].tolist() for i in range(value.shape[1])]
                return [[self.convert(cell, depth + 2) for cell in row] for row in zip(*columns, strict=True)]
            if isinstance(value, pandas.Series | pandas.Index) or type(value).__module__.startswith("pandas.core.arr"):
                return [self.convert(item, depth + 1) for item in value.tolist()]
            if isinstance(value, pandas.Period | pandas.Interval):
                return str(value)
        if numpy is not None:
            if isinstance(value, numpy.ndarray):
                return (
                    self.convert(value.tolist(), depth) if value.dtype.kind not in "mM" else self.moments(value, depth)
                )
            if isinstance(value, numpy.datetime64 | numpy.timedelta64):
                return self.moments(numpy.asarray(value), depth)
            if isinstance(value, numpy.generic):
                return self.convert(value.item(), depth)
        if sqlite3 is not None and isinstance(value, sqlite3.Row):
            return [self.convert(item, depth + 1) for item in value]
        return _plain(value)

    def moments(self, array: Any, depth: int) -> Any:
        """numpy dates (to the second or finer) and spans."""
        unit = "us" if array.dtype.kind == "m" or array.dtype.name not in ("datetime64[D]",) else "D"
        return self.convert(array.astype(f"{array.dtype.kind}8[{unit}]").tolist(), depth)

    def key(self, value: Any) -> str:
        plain = self.convert(value, MAX_DEPTH)
        return plain if isinstance(plain, str) else json.dumps(plain)


def _whole(value: int) -> int:
    if abs(value) >= _BIGGEST:
        raise NoJsonForm("an integer of more than 300 digits")
    return value


def _real(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal | fractions.Fraction):
        return _real(float(value))
    raise NoJsonForm(f"a value of type {type(value).__name__} has no JSON form")
