"""When two submitted answers are the same, without knowing the right one: for votes and agreement.

Numbers are compared at four significant digits (the tolerance of the calculators' graders is one to five percent, and
sums differ in the last digits), texts without case and outer white space, a single row of one cell as the cell itself.
"""

import json
from math import isfinite

from pydantic import JsonValue

from copilot.reward.values import read_number, read_text

_DIGITS = 4


def answer_key(value: JsonValue) -> str:
    """A text that is equal for equal answers; objects count by their values in order, as tables do."""
    return json.dumps(_canonical(value))


def _canonical(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return _canonical(list(value.values()))
    if isinstance(value, list):
        parts = [_canonical(item) for item in value]
        return parts[0] if len(parts) == 1 else parts
    number = read_number(value)
    if number is not None and isfinite(number):
        return float(f"{number:.{_DIGITS}g}")
    text = read_text(value)
    return repr(value) if text is None else text
