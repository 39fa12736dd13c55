"""Reading one submitted JSON scalar as a number, a text or a moment.

Decision: everything is parsed into a value and compared as a value; a text is a number or a date only when the
whole text is one, in a notation without a second reading. Invariant: no function here raises, whatever it is given.
"""

import math
import re
import unicodedata
from datetime import date, datetime, time

MAX_TEXT = 10_000
"""Longest text that is looked at; longer ones are no answer."""

WHOLE_NOISE = 1e-6
"""Absolute difference that floating-point sums leave on a whole number."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0\d", re.ASCII)
_SPECIAL = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
_MAX_BITS = 1000


def read_number(value: object) -> int | float | None:
    """``value`` as a number, or ``None`` when it is none.

    Texts count when the whole text is one decimal number. Refused: booleans; thousands separators, underscores and
    non-ASCII digits; integers beyond 10**300; texts with leading zeros (``"0389"`` is an identifier, not 389).
    NaN and infinities are returned as they are (as numbers or as the usual texts): the caller decides.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_BITS else None
    if isinstance(value, float):
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return _number_of_text(value.strip())
    return None


def _number_of_text(text: str) -> int | float | None:
    if text.casefold() in _SPECIAL:
        return _SPECIAL[text.casefold()]
    if len(text) > 300 or not _NUMBER.fullmatch(text) or _LEADING_ZERO.match(text):
        return None
    return float(text) if any(mark in text for mark in ".eE") else int(text)


def equals_whole(number: int | float, whole: int) -> bool:
    """Whether a finite number is ``whole``, up to the noise that floating-point sums leave; exact beyond 2**53."""
    nearest = round(number)
    return nearest == whole and abs(number - nearest) <= WHOLE_NOISE


def read_text(value: object) -> str | None:
    """``value`` as a text for comparison: NFC, no outer white space, case folded; ``None`` when it is no text.

    Integers are read as their decimal digits, so that ``10`` equals the text ``"10"``.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _MAX_BITS:
        return str(value)
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return unicodedata.normalize("NFC", value).strip().casefold()
    return None


Moment = tuple[date | None, time | None]
"""A date, a time of day, or both."""

_MONTH_NAMES = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTHS = {name[:size]: i for i, name in enumerate(_MONTH_NAMES, start=1) for size in {3, len(name)}} | {"sept": 9}
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d{1,9})?)?(?:\s?(?P<half>[ap])\.?m\.?)?"
_DATES = (
    r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})",
    r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})",
    r"(?P<m>\d{1,2})[/-](?P<d>\d{1,2})[/-](?P<y>\d{4})",
    r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})",
    r"(?P<d>\d{1,2})(?:st|nd|rd|th)?[ -](?P<name>[a-z]{3,9})\.?,?[ -](?P<y>\d{4})",
    r"(?P<name>[a-z]{3,9})\.? (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})",
)
_MOMENTS = [
    re.compile(pattern, re.ASCII)
    for pattern in (*_DATES, *(rf"{day}(?:t|,?\s+(?:at )?){_TIME}" for day in _DATES), _TIME)
]


def read_moment(value: object) -> Moment | None:
    """``value`` as a date, a time or both, in any common notation; ``None`` when it is none.

    ISO 8601, ``12/31/2100`` (month first, as in the sources; day first only where the first number exceeds 12),
    ``31.12.2100``, ``31 Dec 2100``, ``December 31, 2100``; times as ``23:59``, ``23:59:00`` or ``11:59 PM``.
    Refused: years of two digits and time zones. Fractions of a second are cut off.
    """
    if not isinstance(value, str) or len(value) > 64:
        return None
    text = value.strip().lower()
    for pattern in _MOMENTS:
        if match := pattern.fullmatch(text):
            return _moment_of_parts(match.groupdict())
    return None


def _moment_of_parts(parts: dict[str, str | None]) -> Moment | None:
    day = clock = None
    if parts.get("y"):
        name = parts.get("name")
        month = int(parts["m"] or 0) if "m" in parts else _MONTHS.get(name or "", 0)
        number = int(parts["d"] or 0)
        if month > 12 and "m" in parts:
            month, number = number, month
        day = _date(int(parts["y"] or 0), month, number)
        if day is None:
            return None
    if parts.get("hour"):
        clock = _time(int(parts["hour"] or 0), int(parts["minute"] or 0), int(parts["second"] or 0), parts["half"])
        if clock is None:
            return None
    return day, clock


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:  # the calendar decides what exists
        return None


def _time(hour: int, minute: int, second: int, half: str | None) -> time | None:
    if half is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return time(hour, minute, second)


_ISO_CELL = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?", re.ASCII)


def read_iso_cell(text: str) -> datetime | None:
    """A database cell in ISO notation as a moment; midnight stands for the date alone. Fractions are cut off."""
    if not _ISO_CELL.fullmatch(text.strip()):
        return None
    moment = read_moment(text)
    if moment is None or moment[0] is None:
        return None
    return datetime.combine(moment[0], moment[1] or time())
