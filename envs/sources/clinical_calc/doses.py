"""Second edition: equivalent doses of steroids and of opioids."""

from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Grading, Quantity, Values

_STEROIDS = (
    (20, "hydrocortisone"),
    (25, "cortisone"),
    (5, "prednisone"),
    (4, "methylprednisolone"),
    (0.75, "dexamethasone"),
)
_DAILY = {"morphine": 1.0, "oxycodone": 1.5, "tapentadol": 0.4, "codeine": 0.15}
"""Factors of the CDC's guideline of 2022; the doses are milligrams a day."""


def _steroid(v: Values) -> float:
    return v["dose"] * v["target"] / v["drug"]


def _mme(v: Values) -> float:
    return sum(factor * v[name] for name, factor in _DAILY.items())


CALCULATORS = (
    Calculator(
        name="steroid_conversion",
        system="dose",
        citation=Citation("Meikle AW, Tyler FH", "Am J Med 63:200-207", 1977),
        asks=(
            "equivalent daily dose of the new steroid",
            "glucocorticoid-equivalent dose after the switch",
            "new daily dose",
        ),
        inputs=(
            Quantity("dose", ("daily steroid dose",), "mg", 2, 120),
            Grading("drug", tuple((points, f"on {name}") for points, name in _STEROIDS)),
            Grading("target", tuple((points, f"switched to {name}") for points, name in _STEROIDS)),
        ),
        formula=_steroid,
        possible=lambda v: v["drug"] != v["target"],
        program="answer = {dose} * {target} / {drug}",
        statement=(
            "equal doses in mg: hydrocortisone 20, cortisone 25, prednisone 5, methylprednisolone 4, dexamethasone 0.75"
        ),
        unit="mg",
        tolerance=0.02,
        held_out=True,
    ),
    Calculator(
        name="mme",
        system="dose",
        citation=Citation("Dowell D et al. (CDC)", "MMWR Recomm Rep 71:1-95", 2022),
        asks=("morphine milligram equivalents per day", "daily MME", "MME per day (CDC 2022)"),
        inputs=tuple(
            Quantity(name, (f"{name} per day",), "mg", low, high)
            for name, low, high in (
                ("morphine", 5, 90),
                ("oxycodone", 5, 80),
                ("tapentadol", 50, 400),
                ("codeine", 15, 240),
            )
        ),
        formula=_mme,
        program="answer = {morphine} + 1.5 * {oxycodone} + 0.4 * {tapentadol} + 0.15 * {codeine}",
        statement="morphine * 1 + oxycodone * 1.5 + tapentadol * 0.4 + codeine * 0.15, mg per day",
        unit="mg",
        tolerance=0.02,
    ),
)
