"""Kidney function and water balance."""

from copilot.envs.sources.clinical_calc.quantities import BUN, CREATININE, SODIUM, WEIGHT
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Quantity, Values

_URINE_SODIUM = Quantity("urine_sodium", ("urine sodium", "UNa"), "mEq/L", 8, 120)
_URINE_CREATININE = Quantity("urine_creatinine", ("urine creatinine", "UCr"), "mg/dL", 30, 220)
_URINE_UREA = Quantity("urine_urea", ("urine urea", "UUrea"), "mg/dL", 150, 900)


def _cockcroft_gault(v: Values) -> float:
    return (140 - v["age"]) * v["weight"] / (72 * v["creatinine"]) * (0.85 if v["female"] else 1.0)


def _ckd_epi_2021(v: Values) -> float:
    kappa, alpha = (0.7, -0.241) if v["female"] else (0.9, -0.302)
    ratio = v["creatinine"] / kappa
    value = 142 * min(ratio, 1.0) ** alpha * max(ratio, 1.0) ** -1.2 * 0.9938 ** v["age"]
    return float(value * (1.012 if v["female"] else 1.0))


def _ckd_epi_parts(v: Values) -> dict[str, str]:
    kappa, alpha = (0.7, -0.241) if v["female"] else (0.9, -0.302)
    exponent = alpha if v["creatinine"] <= kappa else -1.2
    return {"kappa": f"{kappa:g}", "exponent": f"{exponent:g}", "sex": " * 1.012" if v["female"] else ""}


def _mdrd(v: Values) -> float:
    value = 175 * v["creatinine"] ** -1.154 * v["age"] ** -0.203
    return float(value * (0.742 if v["female"] else 1.0))


def _fena(v: Values) -> float:
    return 100 * v["urine_sodium"] * v["creatinine"] / (v["sodium"] * v["urine_creatinine"])


def _feurea(v: Values) -> float:
    return 100 * v["urine_urea"] * v["creatinine"] / (v["bun"] * v["urine_creatinine"])


def _free_water_deficit(v: Values) -> float:
    return (0.5 if v["female"] else 0.6) * v["weight"] * (v["sodium"] / 140 - 1)


def _female_factor(factor: str) -> dict[bool, str]:
    return {True: f" * {factor}", False: ""}


CALCULATORS = (
    Calculator(
        name="cockcroft_gault",
        system="renal",
        citation=Citation("Cockcroft DW, Gault MH", "Nephron 16:31-41", 1976),
        asks=("creatinine clearance (Cockcroft-Gault)", "Cockcroft-Gault CrCl", "CrCl by Cockcroft and Gault"),
        inputs=(WEIGHT, CREATININE),
        uses=("age", "female"),
        formula=_cockcroft_gault,
        program="answer = (140 - {age}) * {weight} / (72 * {creatinine}){sex}",
        parts=lambda v: {"sex": _female_factor("0.85")[bool(v["female"])]},
        statement="(140 - age) * weight / (72 * creatinine), * 0.85 for women",
        unit="mL/min",
    ),
    Calculator(
        name="ckd_epi_2021",
        system="renal",
        citation=Citation("Inker LA et al.", "N Engl J Med 385:1737-1749", 2021),
        asks=("eGFR (CKD-EPI 2021)", "2021 CKD-EPI creatinine eGFR", "glomerular filtration rate by CKD-EPI 2021"),
        inputs=(CREATININE,),
        uses=("age", "female"),
        formula=_ckd_epi_2021,
        program="answer = 142 * ({creatinine} / {kappa}) ** {exponent} * 0.9938 ** {age}{sex}",
        parts=_ckd_epi_parts,
        statement=(
            "142 * (Cr / k)^e * 0.9938^age; men k 0.9, women k 0.7 and * 1.012; "
            "e -1.2 if Cr > k, else -0.302 (men) or -0.241 (women)"
        ),
        unit="mL/min/1.73m2",
    ),
    Calculator(
        name="mdrd",
        system="renal",
        citation=Citation("Levey AS et al.", "Ann Intern Med 145:247-254", 2006),
        asks=("eGFR (MDRD, 4 variables)", "MDRD eGFR", "glomerular filtration rate by MDRD"),
        inputs=(CREATININE,),
        uses=("age", "female"),
        formula=_mdrd,
        program="answer = 175 * {creatinine} ** -1.154 * {age} ** -0.203{sex}",
        parts=lambda v: {"sex": _female_factor("0.742")[bool(v["female"])]},
        statement="175 * creatinine^-1.154 * age^-0.203, * 0.742 for women",
        unit="mL/min/1.73m2",
    ),
    Calculator(
        name="fena",
        system="renal",
        citation=Citation("Espinel CH", "JAMA 236:579-581", 1976),
        asks=("fractional excretion of sodium", "FENa", "sodium excretion fraction (FENa)"),
        inputs=(SODIUM, CREATININE, _URINE_SODIUM, _URINE_CREATININE),
        formula=_fena,
        program="answer = 100 * {urine_sodium} * {creatinine} / ({sodium} * {urine_creatinine})",
        statement="100 * urine Na * Cr / (Na * urine Cr)",
        unit="%",
    ),
    Calculator(
        name="feurea",
        system="renal",
        citation=Citation("Carvounis CP et al.", "Kidney Int 62:2223-2229", 2002),
        asks=("fractional excretion of urea", "FEUrea", "urea excretion fraction (FEUrea)"),
        inputs=(BUN, CREATININE, _URINE_UREA, _URINE_CREATININE),
        formula=_feurea,
        program="answer = 100 * {urine_urea} * {creatinine} / ({bun} * {urine_creatinine})",
        possible=lambda v: 5 <= _feurea(v) <= 90,
        statement="100 * urine urea * Cr / (BUN * urine Cr)",
        unit="%",
    ),
    Calculator(
        name="free_water_deficit",
        system="fluids",
        citation=Citation("Adrogue HJ, Madias NE", "N Engl J Med 342:1493-1499", 2000),
        asks=("free water deficit", "water deficit in hypernatremia", "estimated free water deficit"),
        inputs=(WEIGHT, SODIUM.between(146, 172)),
        uses=("female",),
        formula=_free_water_deficit,
        program="answer = {water} * {weight} * ({sodium} / 140 - 1)",
        parts=lambda v: {"water": "0.5" if v["female"] else "0.6"},
        statement="0.6 for men or 0.5 for women * weight * (sodium / 140 - 1)",
        unit="L",
        held_out=True,
    ),
)
