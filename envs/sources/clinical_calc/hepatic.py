"""Liver: MELD, MELD-Na, Child-Pugh and fibrosis indices."""

from math import floor, log

from copilot.envs.sources.clinical_calc.quantities import (
    ALBUMIN,
    ALT,
    AST,
    BILIRUBIN,
    CREATININE,
    INR,
    PLATELETS,
    SODIUM,
)
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Grading, Values

_ASCITES = Grading("ascites", ((1, "no ascites"), (2, "mild ascites"), (3, "severe ascites")))
_ENCEPHALOPATHY = Grading(
    "encephalopathy",
    ((1, "no encephalopathy"), (2, "grade 1 encephalopathy"), (3, "grade 4 encephalopathy")),
)


def _round(value: float) -> float:
    return float(floor(value + 0.5))


def _meld_raw(v: Values) -> float:
    creatinine, bilirubin, inr = min(max(v["creatinine"], 1), 4), max(v["bilirubin"], 1), max(v["inr"], 1)
    return 9.57 * log(creatinine) + 3.78 * log(bilirubin) + 11.2 * log(inr) + 6.43


def _clear_of_half(value: float) -> bool:
    """Whether rounding is the same for every way to round."""
    return abs(value % 1 - 0.5) > 0.02


def _meld(v: Values) -> float:
    return _round(_meld_raw(v))


def _meld_na_raw(v: Values) -> float:
    gap = 137 - min(max(v["sodium"], 125), 137)
    return _meld(v) + 1.32 * gap - 0.033 * _meld(v) * gap


def _meld_na(v: Values) -> float:
    return _round(_meld_na_raw(v)) if _meld(v) > 11 else _meld(v)


def _child_pugh(v: Values) -> float:
    bilirubin = 1 if v["bilirubin"] < 2 else 2 if v["bilirubin"] <= 3 else 3
    albumin = 1 if v["albumin"] > 3.5 else 2 if v["albumin"] >= 2.8 else 3
    inr = 1 if v["inr"] < 1.7 else 2 if v["inr"] <= 2.3 else 3
    return bilirubin + albumin + inr + v["ascites"] + v["encephalopathy"]


def _fib4(v: Values) -> float:
    return float(v["age"] * v["ast"] / (v["platelets"] * v["alt"] ** 0.5))


def _apri(v: Values) -> float:
    return v["ast"] / 40 / v["platelets"] * 100


_MELD_SUM = (
    "9.57 * log(min(max({creatinine}, 1), 4)) + 3.78 * log(max({bilirubin}, 1)) + 11.2 * log(max({inr}, 1)) + 6.43"
)

CALCULATORS = (
    Calculator(
        name="meld",
        system="hepatic",
        citation=Citation("Kamath PS et al.", "Hepatology 33:464-470", 2001),
        asks=("MELD score", "MELD", "MELD points (without sodium)"),
        inputs=(CREATININE, BILIRUBIN, INR),
        formula=_meld,
        program=f"from math import log\nanswer = round({_MELD_SUM})",
        possible=lambda v: _clear_of_half(_meld_raw(v)),
        statement="9.57 ln Cr + 3.78 ln bilirubin + 11.2 ln INR + 6.43, rounded; values at least 1, Cr at most 4",
        whole=True,
    ),
    Calculator(
        name="meld_na",
        system="hepatic",
        citation=Citation("Kim WR et al.", "N Engl J Med 359:1018-1026 (OPTN form of 2016)", 2008),
        asks=("MELD-Na score", "MELD-Na (OPTN 2016)", "sodium MELD"),
        inputs=(CREATININE, BILIRUBIN, INR, SODIUM.between(122, 142)),
        formula=_meld_na,
        program=(
            f"from math import log\nm = round({_MELD_SUM})\nd = 137 - min(max({{sodium}}, 125), 137)\n"
            "answer = round(m + 1.32 * d - 0.033 * m * d) if m > 11 else m"
        ),
        possible=lambda v: _clear_of_half(_meld_raw(v)) and _clear_of_half(_meld_na_raw(v)),
        statement="MELD + 1.32 d - 0.033 MELD d if MELD > 11, d = 137 - Na, Na kept in 125-137; rounded",
        whole=True,
    ),
    Calculator(
        name="child_pugh",
        system="hepatic",
        citation=Citation("Pugh RNH et al.", "Br J Surg 60:646-649", 1973),
        asks=("Child-Pugh score", "Child-Pugh points", "Child-Turcotte-Pugh score"),
        inputs=(BILIRUBIN.in_base_unit(), ALBUMIN, INR, _ASCITES, _ENCEPHALOPATHY),
        formula=_child_pugh,
        program=(
            "answer = 3 + ({bilirubin} >= 2) + ({bilirubin} > 3) + ({albumin} <= 3.5) + ({albumin} < 2.8) "
            "+ ({inr} >= 1.7) + ({inr} > 2.3) + {ascites} + {encephalopathy}"
        ),
        statement=(
            "1-3 each: bilirubin (<2, 2-3, >3), albumin (>3.5, 2.8-3.5, <2.8), INR (<1.7, 1.7-2.3, >2.3), "
            "ascites (none, mild, severe), encephalopathy (none, 1-2, 3-4)"
        ),
        whole=True,
    ),
    Calculator(
        name="fib4",
        system="hepatic",
        citation=Citation("Sterling RK et al.", "Hepatology 43:1317-1325", 2006),
        asks=("FIB-4 index", "FIB-4", "fibrosis-4 score"),
        inputs=(AST, ALT, PLATELETS),
        uses=("age",),
        formula=_fib4,
        program="answer = {age} * {ast} / ({platelets} * {alt} ** 0.5)",
        statement="age * AST / (platelets * ALT^0.5)",
        held_out=True,
    ),
    Calculator(
        name="apri",
        system="hepatic",
        citation=Citation("Wai CT et al.", "Hepatology 38:518-526", 2003),
        asks=("APRI (upper normal AST 40)", "AST to platelet ratio index, ULN 40", "APRI with AST ULN of 40"),
        inputs=(AST, PLATELETS),
        formula=_apri,
        program="answer = {ast} / 40 / {platelets} * 100",
        statement="AST / 40 / platelets * 100",
    ),
)
