"""Comparing a program's outputs for hidden inputs with the expected ones, as JSON.

Unlike the cells of a table, outputs are compared with case and type: a program's text is exact. Numbers are equal
within a tolerance, since summation order is nobody's mistake; a boolean is no number.
"""

from collections.abc import Sequence

from pydantic import JsonValue

from copilot.reward.values import read_number

_NOISE = 1e-9
"""Absolute difference that sums of floating-point numbers leave near zero."""


def compare_outputs(expected: Sequence[JsonValue], got: object, *, rel_tol: float) -> str | None:
    """The first difference in a few words, or ``None`` when all outputs agree.

    Args:
        expected: One output per case.
        got: Hostile JSON: a list of ``{"value": ...}`` or ``{"error": text}``, one per case.
        rel_tol: Accepted difference of numbers, as a share of the expected one.
    """
    if not isinstance(got, list):
        return "no outputs"
    if len(got) != len(expected):
        return f"{len(got)} outputs instead of {len(expected)}"
    for number, (wanted, found) in enumerate(zip(expected, got, strict=True), start=1):
        if not isinstance(found, dict) or "value" not in found:
            error = found.get("error") if isinstance(found, dict) else None
            return f"case {number} of {len(expected)} failed: {error[:80] if isinstance(error, str) else 'no output'}"
        if not same_json(wanted, found["value"], rel_tol=rel_tol):
            return f"case {number} of {len(expected)} differs"
    return None


def same_json(wanted: object, got: object, *, rel_tol: float) -> bool:
    """Whether two JSON values are the same, numbers within ``rel_tol`` (and ``1e-9``)."""
    if isinstance(wanted, bool) or isinstance(got, bool) or wanted is None or got is None:
        return wanted is got
    if isinstance(wanted, int | float):
        number = got if isinstance(got, float) else read_number(got) if isinstance(got, int) else None
        return number is not None and abs(wanted - number) <= max(rel_tol * abs(wanted), _NOISE)
    if isinstance(wanted, list) and isinstance(got, list):
        return len(wanted) == len(got) and all(
            same_json(w, g, rel_tol=rel_tol) for w, g in zip(wanted, got, strict=True)
        )
    if isinstance(wanted, dict) and isinstance(got, dict):
        return wanted.keys() == got.keys() and all(same_json(wanted[k], got[k], rel_tol=rel_tol) for k in wanted)
    return type(wanted) is type(got) and wanted == got
