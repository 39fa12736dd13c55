"""Reading a span of weeks and days, such as a gestational age.

A bare number is refused: nobody can say whether it counts weeks or days. Invariant: nothing raises.
"""

import re
from collections.abc import Mapping

from copilot.reward.values import read_number

_UNIT_DAYS = {"w": 7, "wk": 7, "wks": 7, "week": 7, "weeks": 7, "d": 1, "day": 1, "days": 1}
_PART = re.compile(r"(\d{1,5})\s*(weeks?|wks?|w|days?|d)", re.ASCII)
_BETWEEN = re.compile(r"(?:\s|,|and|\(|\)|\[|\]|'|\")*")


def read_interval(value: object) -> int | None:
    """``value`` as a number of days, or ``None`` when it is no span.

    Read are texts (``"29 weeks, 2 days"``, ``"29w2d"``, ``"(29 weeks, 2 days)"``), lists of such parts
    (``["29 weeks", "2 days"]``), pairs of numbers (weeks, days) and objects (``{"weeks": 29, "days": 2}``).
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, Mapping):
        return _of_object(value)
    if isinstance(value, list | tuple) and len(value) == 2:
        numbers = [_count(item) for item in value]
        if numbers[0] is not None and numbers[1] is not None:
            return 7 * numbers[0] + numbers[1]
        if all(isinstance(item, str) for item in value):
            return _of_text(", ".join(value))
    return None


def _of_text(text: str) -> int | None:
    text = text.strip().casefold()
    if len(text) > 60:
        return None
    parts = _PART.findall(text)
    units = [_UNIT_DAYS[unit] for _, unit in parts]
    if not parts or len(set(units)) != len(units) or not _BETWEEN.fullmatch(_PART.sub("", text)):
        return None
    return sum(int(number) * days for (number, _), days in zip(parts, units, strict=True))


def _of_object(value: Mapping[object, object]) -> int | None:
    if not value or not set(value) <= {"weeks", "days"}:
        return None
    counts = {unit: _count(number) for unit, number in value.items()}
    if any(count is None for count in counts.values()):
        return None
    return 7 * (counts.get("weeks") or 0) + (counts.get("days") or 0)


def _count(value: object) -> int | None:
    number = read_number(value)
    return int(number) if number is not None and 0 <= number < 10_000 and number == int(number) else None
