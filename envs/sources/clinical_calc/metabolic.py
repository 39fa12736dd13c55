"""Electrolytes, acid and base, glucose and lipids."""

from copilot.envs.sources.clinical_calc.quantities import ALBUMIN, BICARBONATE, BUN, CALCIUM, CHLORIDE, GLUCOSE, SODIUM
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Quantity, Unit, Values

_CHOLESTEROL_UNIT = (Unit("mmol/L", 1 / 38.67, decimals=2),)
_TOTAL = Quantity("total", ("total cholesterol", "TC"), "mg/dL", 130, 300, units=_CHOLESTEROL_UNIT)
_HDL = Quantity("hdl", ("HDL",), "mg/dL", 25, 85)
_TRIGLYCERIDES = Quantity("triglycerides", ("triglycerides", "TG"), "mg/dL", 60, 380)
_INSULIN = Quantity("insulin", ("fasting insulin", "insulin"), "uU/mL", 3, 40)
_A1C = Quantity("a1c", ("hemoglobin A1c", "HbA1c"), "%", 5.0, 12.5, 1)


def _gap(v: Values) -> float:
    return v["sodium"] - v["chloride"] - v["bicarbonate"]


def _corrected_calcium(v: Values) -> float:
    return v["calcium"] + 0.8 * (4 - v["albumin"])


def _albumin_gap(v: Values) -> float:
    return _gap(v) + 2.5 * (4 - v["albumin"])


def _delta_ratio(v: Values) -> float:
    return (_gap(v) - 12) / (24 - v["bicarbonate"])


def _osmolality(v: Values) -> float:
    return 2 * v["sodium"] + v["glucose"] / 18 + v["bun"] / 2.8


def _corrected_sodium(v: Values) -> float:
    return v["sodium"] + 0.024 * (v["glucose"] - 100)


def _winters(v: Values) -> float:
    return 1.5 * v["bicarbonate"] + 8


def _homa_ir(v: Values) -> float:
    return v["glucose"] * v["insulin"] / 405


def _ldl(v: Values) -> float:
    return v["total"] - v["hdl"] - v["triglycerides"] / 5


def _average_glucose(v: Values) -> float:
    return 28.7 * v["a1c"] - 46.7


CALCULATORS = (
    Calculator(
        name="corrected_calcium",
        system="electrolytes",
        citation=Citation("Payne RB et al.", "Br Med J 4:643-646", 1973),
        asks=("albumin-corrected calcium", "corrected calcium", "calcium corrected for albumin"),
        inputs=(CALCIUM, ALBUMIN.between(1.6, 3.6)),
        formula=_corrected_calcium,
        program="answer = {calcium} + 0.8 * (4 - {albumin})",
        statement="calcium + 0.8 * (4 - albumin)",
        unit="mg/dL",
        tolerance=0.01,
    ),
    Calculator(
        name="anion_gap",
        system="acid-base",
        citation=Citation("Emmett M, Narins RG", "Medicine 56:38-54", 1977),
        asks=("anion gap", "serum anion gap", "anion gap without potassium"),
        inputs=(SODIUM, CHLORIDE, BICARBONATE),
        formula=_gap,
        program="answer = {sodium} - {chloride} - {bicarbonate}",
        possible=lambda v: 4 <= _gap(v) <= 35,
        statement="sodium - chloride - bicarbonate",
        unit="mEq/L",
        tolerance=0.01,
    ),
    Calculator(
        name="albumin_anion_gap",
        system="acid-base",
        citation=Citation("Figge J et al.", "Crit Care Med 26:1807-1810", 1998),
        asks=("albumin-corrected anion gap", "anion gap corrected for albumin", "corrected anion gap (albumin)"),
        inputs=(SODIUM, CHLORIDE, BICARBONATE, ALBUMIN.between(1.6, 3.6)),
        formula=_albumin_gap,
        program="answer = {sodium} - {chloride} - {bicarbonate} + 2.5 * (4 - {albumin})",
        possible=lambda v: 4 <= _gap(v) <= 30,
        statement="sodium - chloride - bicarbonate + 2.5 * (4 - albumin)",
        unit="mEq/L",
        tolerance=0.02,
    ),
    Calculator(
        name="delta_ratio",
        system="acid-base",
        citation=Citation("Wrenn K", "Ann Emerg Med 19:1310-1313", 1990),
        asks=("delta ratio", "delta-delta ratio", "delta gap ratio"),
        inputs=(SODIUM, CHLORIDE, BICARBONATE.between(6, 20)),
        formula=_delta_ratio,
        program="answer = ({sodium} - {chloride} - {bicarbonate} - 12) / (24 - {bicarbonate})",
        possible=lambda v: 15 <= _gap(v) <= 35,
        statement="(sodium - chloride - bicarbonate - 12) / (24 - bicarbonate)",
    ),
    Calculator(
        name="winters",
        system="acid-base",
        citation=Citation("Albert MS, Dell RB, Winters RW", "Ann Intern Med 66:312-322", 1967),
        asks=("expected PaCO2 by Winters' formula", "Winters' expected PaCO2", "expected pCO2 (Winters)"),
        inputs=(BICARBONATE.between(6, 20, decimals=1),),
        formula=_winters,
        program="answer = 1.5 * {bicarbonate} + 8",
        statement="1.5 * bicarbonate + 8",
        unit="mmHg",
        tolerance=0.02,
    ),
    Calculator(
        name="osmolality",
        system="electrolytes",
        citation=Citation("Smithline N, Gardner KD", "JAMA 236:1594-1597", 1976),
        asks=("calculated serum osmolality", "serum osmolality", "estimated plasma osmolality"),
        inputs=(SODIUM, GLUCOSE, BUN),
        formula=_osmolality,
        program="answer = 2 * {sodium} + {glucose} / 18 + {bun} / 2.8",
        statement="2 * sodium + glucose / 18 + BUN / 2.8",
        unit="mOsm/kg",
        tolerance=0.01,
    ),
    Calculator(
        name="corrected_sodium",
        system="electrolytes",
        citation=Citation("Hillier TA, Abbott RD, Barrett EJ", "Am J Med 106:399-403", 1999),
        asks=("glucose-corrected sodium", "sodium corrected for hyperglycemia", "corrected sodium (Hillier)"),
        inputs=(SODIUM.between(118, 142), GLUCOSE.between(240, 900)),
        formula=_corrected_sodium,
        program="answer = {sodium} + 0.024 * ({glucose} - 100)",
        statement="sodium + 0.024 * (glucose - 100)",
        unit="mEq/L",
        tolerance=0.01,
        held_out=True,
    ),
    Calculator(
        name="homa_ir",
        system="endocrine",
        citation=Citation("Matthews DR et al.", "Diabetologia 28:412-419", 1985),
        asks=("HOMA-IR", "HOMA insulin resistance index", "homeostatic model insulin resistance"),
        inputs=(GLUCOSE.between(70, 190), _INSULIN),
        formula=_homa_ir,
        program="answer = {glucose} * {insulin} / 405",
        statement="glucose * insulin / 405",
        held_out=True,
    ),
    Calculator(
        name="ldl_friedewald",
        system="endocrine",
        citation=Citation("Friedewald WT, Levy RI, Fredrickson DS", "Clin Chem 18:499-502", 1972),
        asks=("LDL cholesterol (Friedewald)", "Friedewald LDL", "calculated LDL"),
        inputs=(_TOTAL, _HDL, _TRIGLYCERIDES),
        formula=_ldl,
        program="answer = {total} - {hdl} - {triglycerides} / 5",
        possible=lambda v: _ldl(v) >= 35,
        statement="total cholesterol - HDL - triglycerides / 5",
        unit="mg/dL",
        tolerance=0.02,
    ),
    Calculator(
        name="average_glucose",
        system="endocrine",
        citation=Citation("Nathan DM et al.", "Diabetes Care 31:1473-1478", 2008),
        asks=("estimated average glucose", "eAG from HbA1c", "average glucose by ADAG"),
        inputs=(_A1C,),
        formula=_average_glucose,
        program="answer = 28.7 * {a1c} - 46.7",
        statement="28.7 * HbA1c - 46.7",
        unit="mg/dL",
        tolerance=0.02,
    ),
)
