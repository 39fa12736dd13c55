"""Circulation: pressures, QT correction, stroke and bleeding risk in atrial fibrillation."""

from copilot.envs.sources.clinical_calc.quantities import DIASTOLIC, HEART_RATE, QT, SYSTOLIC
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Finding, Values


def _map(v: Values) -> float:
    return v["dbp"] + (v["sbp"] - v["dbp"]) / 3


def _bazett(v: Values) -> float:
    return float(v["qt"] / (60 / v["hr"]) ** 0.5)


def _fridericia(v: Values) -> float:
    return float(v["qt"] / (60 / v["hr"]) ** (1 / 3))


def _framingham(v: Values) -> float:
    return v["qt"] + 154 * (1 - 60 / v["hr"])


def _hodges(v: Values) -> float:
    return v["qt"] + 1.75 * (v["hr"] - 60)


def _shock_index(v: Values) -> float:
    return v["hr"] / v["sbp"]


def _cha2ds2_vasc(v: Values) -> float:
    age = 2 if v["age"] >= 75 else 1 if v["age"] >= 65 else 0
    return v["chf"] + v["htn"] + age + v["dm"] + 2 * v["stroke"] + v["vascular"] + v["female"]


def _has_bled(v: Values) -> float:
    names = ("htn", "renal", "liver", "stroke", "bleeding", "inr", "drugs", "alcohol")
    return sum(v[name] for name in names) + (v["age"] > 65)


_QT_INPUTS = (QT, HEART_RATE)

CALCULATORS = (
    Calculator(
        name="map",
        system="cardiac",
        citation=Citation("DeMers D, Wachs D", "StatPearls NBK538226 (standard formula)", 2023),
        asks=("mean arterial pressure", "MAP", "mean BP (MAP)"),
        inputs=(SYSTOLIC, DIASTOLIC),
        formula=_map,
        program="answer = {dbp} + ({sbp} - {dbp}) / 3",
        possible=lambda v: 25 <= v["sbp"] - v["dbp"] <= 90,
        statement="DBP + (SBP - DBP) / 3",
        unit="mmHg",
        tolerance=0.02,
    ),
    Calculator(
        name="qtc_bazett",
        system="cardiac",
        citation=Citation("Bazett HC", "Heart 7:353-370", 1920),
        asks=("QTc by Bazett", "Bazett QTc", "corrected QT (Bazett)"),
        inputs=_QT_INPUTS,
        formula=_bazett,
        program="answer = {qt} / (60 / {hr}) ** 0.5",
        statement="QT / (60 / HR)^0.5",
        unit="ms",
        tolerance=0.01,
    ),
    Calculator(
        name="qtc_fridericia",
        system="cardiac",
        citation=Citation("Fridericia LS", "Acta Med Scand 53:469-486", 1920),
        asks=("QTc by Fridericia", "Fridericia QTc", "corrected QT (Fridericia)"),
        inputs=_QT_INPUTS,
        formula=_fridericia,
        program="answer = {qt} / (60 / {hr}) ** (1 / 3)",
        statement="QT / (60 / HR)^(1/3)",
        unit="ms",
        tolerance=0.01,
        held_out=True,
    ),
    Calculator(
        name="qtc_framingham",
        system="cardiac",
        citation=Citation("Sagie A et al.", "Am J Cardiol 70:797-801", 1992),
        asks=("QTc by Framingham", "Framingham QTc", "corrected QT (Framingham)"),
        inputs=_QT_INPUTS,
        formula=_framingham,
        program="answer = {qt} + 154 * (1 - 60 / {hr})",
        statement="QT + 154 * (1 - 60 / HR)",
        unit="ms",
        tolerance=0.01,
    ),
    Calculator(
        name="qtc_hodges",
        system="cardiac",
        citation=Citation("Hodges M, Salerno D, Erlien D", "J Am Coll Cardiol 1:694", 1983),
        asks=("QTc by Hodges", "Hodges QTc", "corrected QT (Hodges)"),
        inputs=_QT_INPUTS,
        formula=_hodges,
        program="answer = {qt} + 1.75 * ({hr} - 60)",
        statement="QT + 1.75 * (HR - 60)",
        unit="ms",
        tolerance=0.01,
    ),
    Calculator(
        name="shock_index",
        system="cardiac",
        citation=Citation("Allgower M, Burri C", "Dtsch Med Wochenschr 92:1947-1950", 1967),
        asks=("shock index", "Allgower shock index", "shock index (HR over SBP)"),
        inputs=(HEART_RATE.between(60, 150), SYSTOLIC),
        formula=_shock_index,
        program="answer = {hr} / {sbp}",
        statement="HR / SBP",
        held_out=True,
    ),
    Calculator(
        name="cha2ds2_vasc",
        system="score",
        citation=Citation("Lip GYH et al.", "Chest 137:263-272", 2010),
        asks=("CHA2DS2-VASc score", "CHA2DS2-VASc", "CHA2DS2-VASc stroke risk points"),
        inputs=(
            Finding("chf", ("heart failure", "CHF"), "no heart failure"),
            Finding("htn", ("hypertension", "HTN"), "no hypertension", 0.5),
            Finding("dm", ("diabetes", "DM"), "no diabetes"),
            Finding("stroke", ("prior stroke", "prior TIA"), "no prior stroke", 0.3),
            Finding("vascular", ("prior MI", "peripheral artery disease"), "no vascular disease", 0.3),
        ),
        uses=("age", "female"),
        formula=_cha2ds2_vasc,
        program=(
            "answer = sum(dict(chf={chf}, htn={htn}, age=({age} >= 65) + ({age} >= 75), dm={dm}, "
            "stroke={stroke2}, vascular={vascular}, female={female}).values())"
        ),
        parts=lambda v: {"stroke2": f"{2 * v['stroke']:g}", "female": f"{v['female']:g}"},
        statement="1 each: CHF, hypertension, age 65-74, diabetes, vascular disease, female; 2 each: age >= 75, stroke",
        whole=True,
        ages=(48, 90),
    ),
    Calculator(
        name="has_bled",
        system="score",
        citation=Citation("Pisters R et al.", "Chest 138:1093-1100", 2010),
        asks=("HAS-BLED score", "HAS-BLED", "HAS-BLED bleeding risk points"),
        inputs=(
            Finding("htn", ("systolic BP above 160", "uncontrolled hypertension"), "BP controlled"),
            Finding("renal", ("dialysis", "renal transplant"), "normal renal function", 0.25),
            Finding("liver", ("cirrhosis",), "no liver disease", 0.2),
            Finding("stroke", ("prior stroke",), "no prior stroke", 0.3),
            Finding("bleeding", ("prior major bleeding",), "no prior bleeding", 0.3),
            Finding("inr", ("labile INR",), "stable INR", 0.25),
            Finding("drugs", ("on aspirin", "on NSAIDs"), "no antiplatelets", 0.35),
            Finding("alcohol", ("alcohol abuse", "heavy alcohol use"), "no alcohol", 0.25),
        ),
        uses=("age",),
        formula=_has_bled,
        program=(
            "answer = sum(dict(htn={htn}, renal={renal}, liver={liver}, stroke={stroke}, bleeding={bleeding}, "
            "inr={inr}, age={age} > 65, drugs={drugs}, alcohol={alcohol}).values())"
        ),
        statement=("1 each: hypertension, renal, liver, stroke, bleeding, labile INR, age > 65, drugs, alcohol"),
        whole=True,
        ages=(45, 90),
        avoid=("creatinine", "platelets"),
    ),
)
