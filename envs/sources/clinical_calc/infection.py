"""Second edition: sore throat and pneumonia."""

from copilot.envs.sources.clinical_calc.quantities import (
    BUN,
    GLUCOSE,
    HEART_RATE,
    PAO2,
    RESPIRATORY_RATE,
    SODIUM,
    SYSTOLIC,
    TEMPERATURE,
)
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Finding, Grading, Quantity, Values

_COUGH = Grading("cough", ((0, "with cough"), (1, "without cough")))
_PH = Quantity("ph", ("arterial pH", "pH"), "", 7.20, 7.50, 2)
_HEMATOCRIT = Quantity("hct", ("hematocrit", "Hct"), "%", 22, 48)


def _centor(v: Values) -> float:
    age = 1 if v["age"] < 15 else -1 if v["age"] >= 45 else 0
    return v["exudate"] + v["nodes"] + (v["temp"] > 38) + v["cough"] + age


def _feverpain(v: Values) -> float:
    return sum(v[name] for name in ("fever", "purulence", "rapid", "inflamed", "cough"))


_PSI_FINDINGS = {
    "home": 10,
    "cancer": 30,
    "liver": 20,
    "chf": 10,
    "stroke": 10,
    "renal": 10,
    "mental": 20,
    "effusion": 10,
}


def _psi(v: Values) -> float:
    score = v["age"] - 10 * v["female"] + sum(points * v[name] for name, points in _PSI_FINDINGS.items())
    score += 20 * (v["rr"] >= 30) + 20 * (v["sbp"] < 90) + 15 * (v["temp"] < 35 or v["temp"] >= 40)
    score += 10 * (v["hr"] >= 125) + 30 * (v["ph"] < 7.35) + 20 * (v["bun"] >= 30) + 20 * (v["sodium"] < 130)
    return score + 10 * (v["glucose"] >= 250) + 10 * (v["hct"] < 30) + 10 * (v["pao2"] < 60)


CALCULATORS = (
    Calculator(
        name="centor",
        system="score",
        citation=Citation("McIsaac WJ et al.", "CMAJ 158:75-83", 1998),
        asks=("modified Centor score (McIsaac)", "McIsaac score", "Centor/McIsaac points for strep throat"),
        inputs=(
            Finding("exudate", ("tonsillar exudate",), "clean tonsils", 0.45),
            Finding("nodes", ("tender anterior cervical nodes",), "no lymphadenopathy", 0.45),
            TEMPERATURE.in_base_unit(),
            _COUGH,
        ),
        uses=("age",),
        formula=_centor,
        program=(
            "answer = sum(dict(exudate={exudate}, nodes={nodes}, fever={temp} > 38, cough={cough}, "
            "age=({age} < 15) - ({age} >= 45)).values())"
        ),
        statement="1 each: exudate, tender nodes, T > 38 C, no cough; age 3-14 +1, >= 45 -1",
        whole=True,
        ages=(4, 70),
    ),
    Calculator(
        name="feverpain",
        system="score",
        citation=Citation("Little P et al.", "BMJ 347:f5806", 2013),
        asks=("FeverPAIN score", "FeverPAIN", "FeverPAIN points for sore throat"),
        inputs=(
            Finding("fever", ("fever in the past 24 h",), "afebrile since onset", 0.5),
            Finding("purulence", ("purulent tonsils",), "no pus", 0.45),
            Grading("rapid", ((1, "onset 2 days ago"), (0, "onset 6 days ago"))),
            Finding("inflamed", ("severely inflamed tonsils",), "mild redness only", 0.45),
            _COUGH,
        ),
        formula=_feverpain,
        program="answer = {fever} + {purulence} + {rapid} + {inflamed} + {cough}",
        statement="1 each: fever, purulence, onset within 3 days, severely inflamed tonsils, no cough or coryza",
        whole=True,
        ages=(5, 70),
        avoid=("temp",),
    ),
    Calculator(
        name="psi",
        system="score",
        citation=Citation("Fine MJ et al.", "N Engl J Med 336:243-250", 1997),
        asks=("Pneumonia Severity Index", "PSI/PORT score", "PORT score for pneumonia"),
        inputs=(
            Finding("home", ("nursing home resident",), "lives at own house", 0.25),
            Finding("cancer", ("active cancer",), "no malignancy", 0.2),
            Finding("liver", ("cirrhosis",), "no liver disease", 0.2),
            Finding("chf", ("heart failure",), "normal ejection fraction", 0.25),
            Finding("stroke", ("prior stroke",), "no cerebrovascular disease", 0.25),
            Finding("renal", ("chronic kidney disease",), "normal renal function", 0.25),
            Finding("mental", ("confused",), "alert and oriented", 0.25),
            RESPIRATORY_RATE,
            SYSTOLIC,
            TEMPERATURE.between(34.4, 40.6).in_base_unit(),
            HEART_RATE.between(70, 150),
            _PH,
            BUN.in_base_unit(),
            SODIUM.between(122, 144),
            GLUCOSE.in_base_unit(),
            _HEMATOCRIT,
            PAO2.between(48, 95),
            Finding("effusion", ("pleural effusion",), "clear pleural angles", 0.3),
        ),
        uses=("age", "female"),
        formula=_psi,
        program=(
            "answer = {age} - {ten} + 10 * {home} + 30 * {cancer} + 20 * {liver} + 10 * {chf} + 10 * {stroke} "
            "+ 10 * {renal} + 20 * {mental} + 10 * {effusion}\n"
            "answer += sum([20 * ({rr} >= 30), 20 * ({sbp} < 90), 15 * ({temp} < 35 or {temp} >= 40), 10 * ({hr} >= "
            "125), "
            "30 * ({ph} < 7.35), 20 * ({bun} >= 30), 20 * ({sodium} < 130), 10 * ({glucose} >= 250), 10 * ({hct} < "
            "30), "
            "10 * ({pao2} < 60)])"
        ),
        parts=lambda v: {"ten": "10" if v["female"] else "0"},
        statement=(
            "age in years (women -10); nursing home 10, cancer 30, liver disease 20, CHF 10, stroke 10, renal "
            "disease 10, "
            "altered mental status 20, RR >= 30 20, SBP < 90 20, T < 35 or >= 40 C 15, HR >= 125 10, pH < 7.35 30, "
            "BUN >= 30 20, Na < 130 20, glucose >= 250 10, Hct < 30 10, PaO2 < 60 10, effusion 10"
        ),
        whole=True,
        ages=(40, 92),
        avoid=("creatinine", "spo2"),
    ),
)
