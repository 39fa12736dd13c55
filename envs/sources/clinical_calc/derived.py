"""Second edition: quantities derived from others, and points of risk from a few findings."""

from math import exp, log

from copilot.envs.sources.clinical_calc.quantities import (
    ALBUMIN,
    BICARBONATE,
    CHLORIDE,
    CREATININE,
    HEART_RATE,
    HEIGHT,
    QT,
    SODIUM,
    SYSTOLIC,
)
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Finding, Grading, Quantity, Values

_TARGET_BMI = Quantity("target_bmi", ("target BMI",), "kg/m2", 18.5, 27.0, 1)
_CHOLESTEROL = Quantity("total", ("total cholesterol", "TC"), "mg/dL", 140, 300)
_HDL = Quantity("hdl", ("HDL",), "mg/dL", 28, 80)
_ACIDOSIS = (SODIUM, CHLORIDE.between(90, 108), BICARBONATE.between(8, 21))


def _rautaharju(v: Values) -> float:
    return v["qt"] * (120 + v["hr"]) / 180


def _target_weight(v: Values) -> float:
    return v["target_bmi"] * (v["height"] / 100) ** 2


def _delta_gap(v: Values) -> float:
    return v["sodium"] - v["chloride"] - v["bicarbonate"] - 12


def _albumin_delta_gap(v: Values) -> float:
    return _delta_gap(v) + 2.5 * (4 - v["albumin"])


def _albumin_delta_ratio(v: Values) -> float:
    return _albumin_delta_gap(v) / (24 - v["bicarbonate"])


def _framingham_men(v: Values) -> float:
    age, total, smoker = log(v["age"]), log(v["total"]), v["smoker"]
    line = 52.00961 * age + 20.014077 * total - 0.905964 * log(v["hdl"]) + 1.305784 * log(v["sbp"])
    line += 0.241549 * v["treated"] + 12.096316 * smoker
    line += -4.605038 * age * total - 2.84367 * age * smoker - 2.93323 * age**2 - 172.300168
    return float(100 * (1 - 0.9402 ** exp(line)))


def _framingham_women(v: Values) -> float:
    age, total, smoker = log(v["age"]), log(v["total"]), v["smoker"]
    line = 31.764001 * age + 22.465206 * total - 1.187731 * log(v["hdl"]) + 2.552905 * log(v["sbp"])
    line += 0.420251 * v["treated"] + 13.07543 * smoker
    line += -5.060998 * age * total - 2.996945 * age * smoker - 146.5933061
    return float(100 * (1 - 0.98767 ** exp(line)))


def _framingham(v: Values) -> float:
    return _framingham_women(v) if v["female"] else _framingham_men(v)


_MEN_LINE = (
    "52.00961 * a + 20.014077 * t - 0.905964 * log({hdl}) + 1.305784 * log({sbp}) + 0.241549 * {treated} "
    "+ 12.096316 * {smoker} - 4.605038 * a * t - 2.84367 * a * {smoker} - 2.93323 * a * a - 172.300168"
)
_WOMEN_LINE = (
    "31.764001 * a + 22.465206 * t - 1.187731 * log({hdl}) + 2.552905 * log({sbp}) + 0.420251 * {treated} "
    "+ 13.07543 * {smoker} - 5.060998 * a * t - 2.996945 * a * {smoker} - 146.5933061"
)


def _framingham_parts(v: Values) -> dict[str, str]:
    numbers = {"hdl": f"{v['hdl']:g}", "sbp": f"{v['sbp']:g}"}
    findings = {"treated": f"{v['treated']:g}", "smoker": f"{v['smoker']:g}"}
    line = _WOMEN_LINE if v["female"] else _MEN_LINE
    return {"line": line.format(**numbers, **findings), "survival": "0.98767" if v["female"] else "0.9402"}


_HEART_FACTORS = ("htn", "cholesterol", "dm", "smoker", "family", "obese")


def _heart(v: Values) -> float:
    factors = sum(v[name] for name in _HEART_FACTORS)
    risk = 2 if factors >= 3 or v["atherosclerosis"] else 1 if factors else 0
    age = 2 if v["age"] >= 65 else 1 if v["age"] >= 45 else 0
    return v["history"] + v["ecg"] + age + risk + v["troponin"]


def _rcri(v: Values) -> float:
    names = ("surgery", "ischemia", "chf", "stroke", "insulin")
    return sum(v[name] for name in names) + (v["creatinine"] > 2)


CALCULATORS = (
    Calculator(
        name="qtc_rautaharju",
        system="cardiac",
        citation=Citation("Rautaharju PM, Warren JW, Calhoun HP", "J Electrocardiol 26 Suppl:213-219", 1993),
        asks=("QTc by Rautaharju", "Rautaharju QTc", "corrected QT (Rautaharju)"),
        inputs=(QT, HEART_RATE),
        formula=_rautaharju,
        program="answer = {qt} * (120 + {hr}) / 180",
        statement="QT * (120 + HR) / 180",
        unit="ms",
        tolerance=0.01,
        held_out=True,
    ),
    Calculator(
        name="target_weight",
        system="body",
        citation=Citation("Keys A et al.", "J Chronic Dis 25:329-343", 1972),
        asks=("target weight", "weight at the target BMI", "goal weight for that BMI"),
        inputs=(_TARGET_BMI, HEIGHT),
        formula=_target_weight,
        program="answer = {target_bmi} * ({height} / 100) ** 2",
        statement="target BMI * (height in m)^2",
        unit="kg",
        avoid=("weight",),
    ),
    Calculator(
        name="delta_gap",
        system="acid-base",
        citation=Citation("Wrenn K", "Ann Emerg Med 19:1310-1313", 1990),
        asks=("delta gap", "delta anion gap (normal gap 12)", "excess anion gap"),
        inputs=_ACIDOSIS,
        formula=_delta_gap,
        possible=lambda v: _delta_gap(v) >= 2,
        program="answer = {sodium} - {chloride} - {bicarbonate} - 12",
        statement="Na - Cl - HCO3 - 12",
        unit="mEq/L",
        held_out=True,
    ),
    Calculator(
        name="albumin_delta_gap",
        system="acid-base",
        citation=Citation("Figge J et al.", "Crit Care Med 26:1807-1810", 1998),
        asks=("albumin-corrected delta gap", "delta gap corrected for albumin", "albumin-corrected excess anion gap"),
        inputs=(*_ACIDOSIS, ALBUMIN.between(1.6, 3.6)),
        formula=_albumin_delta_gap,
        possible=lambda v: _albumin_delta_gap(v) >= 2,
        program="answer = {sodium} - {chloride} - {bicarbonate} - 12 + 2.5 * (4 - {albumin})",
        statement="Na - Cl - HCO3 - 12 + 2.5 * (4 - albumin)",
        unit="mEq/L",
        tolerance=0.02,
    ),
    Calculator(
        name="albumin_delta_ratio",
        system="acid-base",
        citation=Citation("Figge J et al.", "Crit Care Med 26:1807-1810", 1998),
        asks=(
            "albumin-corrected delta ratio",
            "delta ratio corrected for albumin",
            "delta-delta with albumin-corrected gap",
        ),
        inputs=(*_ACIDOSIS, ALBUMIN.between(1.6, 3.6)),
        formula=_albumin_delta_ratio,
        possible=lambda v: _albumin_delta_gap(v) >= 2,
        program="answer = ({sodium} - {chloride} - {bicarbonate} - 12 + 2.5 * (4 - {albumin})) / (24 - {bicarbonate})",
        statement="(Na - Cl - HCO3 - 12 + 2.5 * (4 - albumin)) / (24 - HCO3)",
        tolerance=0.02,
    ),
    Calculator(
        name="framingham_chd",
        system="cardiac",
        citation=Citation("NCEP Adult Treatment Panel III (Framingham equations)", "Circulation 106:3143-3421", 2002),
        asks=(
            "10-year risk of hard coronary events (Framingham)",
            "Framingham risk (ATP III)",
            "Framingham 10-year CHD risk",
        ),
        inputs=(
            _CHOLESTEROL,
            _HDL,
            SYSTOLIC.between(100, 180),
            Finding("treated", ("on antihypertensives",), "no antihypertensives"),
            Finding("smoker", ("current smoker",), "never smoked"),
        ),
        uses=("age", "female"),
        formula=_framingham,
        possible=lambda v: 0.5 <= _framingham(v) <= 60,
        program=(
            "from math import exp, log\na, t = log({age}), log({total})\nanswer = 100 * (1 - {survival} ** exp({line}))"
        ),
        parts=_framingham_parts,
        statement=(
            f"100 * (1 - S ^ exp(L)), a = ln age, t = ln TC, men S 0.9402, L = {_MEN_LINE}; women S 0.98767, "
            f"L = {_WOMEN_LINE}"
        )
        .replace("{", "")
        .replace("}", ""),
        unit="%",
        ages=(35, 69),
    ),
    Calculator(
        name="heart_score",
        system="score",
        citation=Citation("Six AJ, Backus BE, Kelder JC", "Neth Heart J 16:191-196", 2008),
        asks=("HEART score", "HEART", "HEART points for chest pain"),
        inputs=(
            Grading("history", ((0, "slightly suspicious"), (1, "moderately suspicious"), (2, "highly suspicious"))),
            Grading("ecg", ((0, "normal ECG"), (1, "nonspecific repolarization disturbance"), (2, "ST depression"))),
            Finding("htn", ("hypertension", "HTN"), "no high blood pressure"),
            Finding("cholesterol", ("hypercholesterolemia",), "normal lipids"),
            Finding("dm", ("diabetes",), "normal glucose tolerance"),
            Finding("smoker", ("current smoker",), "never smoked"),
            Finding("family", ("family history of coronary disease",), "unremarkable family history", 0.25),
            Finding("obese", ("BMI 34 kg/m2", "obesity"), "BMI 23 kg/m2", 0.25),
            Finding("atherosclerosis", ("prior MI", "peripheral artery disease"), "no known atherosclerosis", 0.2),
            Grading(
                "troponin",
                ((0, "troponin normal"), (1, "troponin twice the limit"), (2, "troponin five times the limit")),
            ),
        ),
        uses=("age",),
        formula=_heart,
        program=(
            "factors = {htn} + {cholesterol} + {dm} + {smoker} + {family} + {obese}\n"
            "risk = max((factors > 0) + (factors >= 3), 2 * {atherosclerosis})\n"
            "answer = {history} + {ecg} + ({age} >= 45) + ({age} >= 65) + risk + {troponin}"
        ),
        statement=(
            "history 0-2, ECG 0-2 (nonspecific 1, ST depression 2), age 45-64 1, >= 65 2, risk factors 1-2: 1, >= 3 or "
            "atherosclerosis: 2, troponin 1-3 times the limit 1, more 2"
        ),
        whole=True,
        ages=(30, 90),
    ),
    Calculator(
        name="rcri",
        system="score",
        citation=Citation("Lee TH et al.", "Circulation 100:1043-1049", 1999),
        asks=("Revised Cardiac Risk Index", "RCRI", "Lee index points before surgery"),
        inputs=(
            Finding("surgery", ("planned aortic surgery", "planned intrathoracic surgery"), "planned hernia repair"),
            Finding("ischemia", ("ischemic heart disease",), "no coronary disease"),
            Finding("chf", ("heart failure", "CHF"), "normal ejection fraction"),
            Finding("stroke", ("prior stroke", "prior TIA"), "no cerebrovascular disease"),
            Finding("insulin", ("on insulin",), "no insulin"),
            CREATININE.in_base_unit(),
        ),
        formula=_rcri,
        program="answer = {surgery} + {ischemia} + {chf} + {stroke} + {insulin} + ({creatinine} > 2)",
        statement=(
            "1 each: high-risk surgery (intraperitoneal, intrathoracic, suprainguinal vascular), ischemic heart "
            "disease, "
            "CHF, stroke or TIA, insulin, creatinine > 2 mg/dL"
        ),
        whole=True,
        ages=(40, 88),
    ),
)
