"""Body size, energy and fluids."""

from copilot.envs.sources.clinical_calc.quantities import HEIGHT, WEIGHT
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Quantity, Values

_HEIGHT_IN = Quantity("height_in", ("height", "Ht"), "in", 60, 76, 1)
_OBESE_WEIGHT = WEIGHT.between(85, 160)


def _bmi(v: Values) -> float:
    return v["weight"] / (v["height"] / 100) ** 2


def _bsa_mosteller(v: Values) -> float:
    return float((v["weight"] * v["height"] / 3600) ** 0.5)


def _bsa_dubois(v: Values) -> float:
    return float(0.007184 * v["weight"] ** 0.425 * v["height"] ** 0.725)


def _ideal_weight(v: Values) -> float:
    return (45.5 if v["female"] else 50.0) + 2.3 * (v["height_in"] - 60)


def _adjusted_weight(v: Values) -> float:
    ideal = _ideal_weight(v)
    return ideal + 0.4 * (v["weight"] - ideal)


def _mifflin(v: Values) -> float:
    return 10 * v["weight"] + 6.25 * v["height"] - 5 * v["age"] + (-161 if v["female"] else 5)


def _maintenance(v: Values) -> float:
    kg = v["weight"]
    return 4 * min(kg, 10) + 2 * min(max(kg - 10, 0), 10) + max(kg - 20, 0)


def _parkland(v: Values) -> float:
    return 4 * v["weight"] * v["burn"]


def _adult_build(v: Values) -> bool:
    return 16 <= _bmi(v) <= 50


def _childs_weight(v: Values) -> bool:
    return 1.8 * v["age"] + 4 <= v["weight"] <= 4 * v["age"] + 10


def _devine_base(v: Values) -> dict[str, str]:
    return {"base": "45.5" if v["female"] else "50"}


CALCULATORS = (
    Calculator(
        name="bmi",
        system="body",
        citation=Citation("Keys A et al.", "J Chronic Dis 25:329-343", 1972),
        asks=("body mass index", "BMI", "Quetelet index (BMI)"),
        inputs=(WEIGHT, HEIGHT),
        possible=_adult_build,
        formula=_bmi,
        program="answer = {weight} / ({height} / 100) ** 2",
        statement="weight / (height in m)^2",
        unit="kg/m2",
    ),
    Calculator(
        name="bsa_mosteller",
        system="body",
        citation=Citation("Mosteller RD", "N Engl J Med 317:1098", 1987),
        asks=("body surface area by Mosteller", "Mosteller BSA", "BSA (Mosteller)"),
        inputs=(WEIGHT, HEIGHT),
        possible=_adult_build,
        formula=_bsa_mosteller,
        program="answer = ({weight} * {height} / 3600) ** 0.5",
        statement="sqrt(weight * height / 3600)",
        unit="m2",
    ),
    Calculator(
        name="bsa_dubois",
        system="body",
        citation=Citation("Du Bois D, Du Bois EF", "Arch Intern Med 17:863-871", 1916),
        asks=("body surface area by Du Bois", "Du Bois BSA", "BSA (DuBois)"),
        inputs=(WEIGHT, HEIGHT),
        possible=_adult_build,
        formula=_bsa_dubois,
        program="answer = 0.007184 * {weight} ** 0.425 * {height} ** 0.725",
        statement="0.007184 * weight^0.425 * height^0.725",
        unit="m2",
        tolerance=0.02,
    ),
    Calculator(
        name="ideal_body_weight",
        system="body",
        citation=Citation("Devine BJ", "Drug Intell Clin Pharm 8:650-655", 1974),
        asks=("ideal body weight", "IBW (Devine)", "Devine ideal weight"),
        inputs=(_HEIGHT_IN,),
        uses=("female",),
        formula=_ideal_weight,
        program="answer = {base} + 2.3 * ({height_in} - 60)",
        parts=_devine_base,
        statement="50 for men or 45.5 for women + 2.3 * (height in inches - 60)",
        unit="kg",
        tolerance=0.02,
    ),
    Calculator(
        name="adjusted_body_weight",
        system="body",
        citation=Citation("Bauer LA et al.", "Eur J Clin Pharmacol 24:643-647", 1983),
        asks=("adjusted body weight", "AdjBW (Devine ideal weight)", "adjusted weight for dosing"),
        inputs=(_OBESE_WEIGHT, _HEIGHT_IN),
        uses=("female",),
        formula=_adjusted_weight,
        program="ibw = {base} + 2.3 * ({height_in} - 60)\nanswer = ibw + 0.4 * ({weight} - ibw)",
        parts=_devine_base,
        statement="IBW + 0.4 * (weight - IBW), IBW = 50 (men) or 45.5 (women) + 2.3 * (inches - 60)",
        unit="kg",
        tolerance=0.02,
    ),
    Calculator(
        name="mifflin_st_jeor",
        system="body",
        citation=Citation("Mifflin MD et al.", "Am J Clin Nutr 51:241-247", 1990),
        asks=("resting energy expenditure (Mifflin-St Jeor)", "Mifflin-St Jeor REE", "Mifflin-St Jeor energy need"),
        inputs=(WEIGHT, HEIGHT),
        possible=_adult_build,
        uses=("age", "female"),
        formula=_mifflin,
        program="answer = 10 * {weight} + 6.25 * {height} - 5 * {age} {sex}",
        parts=lambda v: {"sex": "- 161" if v["female"] else "+ 5"},
        statement="10 * weight + 6.25 * height - 5 * age, + 5 for men, - 161 for women",
        unit="kcal/day",
        tolerance=0.02,
    ),
    Calculator(
        name="maintenance_fluids",
        system="fluids",
        citation=Citation("Holliday MA, Segar WE", "Pediatrics 19:823-832", 1957),
        asks=("maintenance fluid rate (4-2-1)", "Holliday-Segar maintenance rate", "hourly maintenance fluids"),
        inputs=(WEIGHT.between(4, 60, decimals=1),),
        formula=_maintenance,
        possible=_childs_weight,
        program="answer = 4 * min({weight}, 10) + 2 * min(max({weight} - 10, 0), 10) + max({weight} - 20, 0)",
        statement="4 mL/kg for the first 10 kg, 2 for the next 10 kg, 1 for each further kg",
        unit="mL/h",
        tolerance=0.02,
        ages=(1, 16),
    ),
    Calculator(
        name="parkland",
        system="fluids",
        citation=Citation("Baxter CR, Shires T", "Ann N Y Acad Sci 150:874-894", 1968),
        asks=("24-hour fluid need by Parkland", "Parkland resuscitation volume", "Parkland burn fluids for 24 h"),
        inputs=(WEIGHT, Quantity("burn", ("burned surface", "TBSA burn"), "%", 10, 60)),
        formula=_parkland,
        program="answer = 4 * {weight} * {burn}",
        statement="4 * weight * burned percent",
        unit="mL",
    ),
)
