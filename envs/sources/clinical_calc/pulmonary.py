"""Lungs: gas exchange, pneumonia, thromboembolism, sepsis screening."""

from copilot.envs.sources.clinical_calc.quantities import (
    BUN,
    DIASTOLIC,
    HEART_RATE,
    PACO2,
    PAO2,
    RESPIRATORY_RATE,
    SYSTOLIC,
    TEMPERATURE,
    WHITE_CELLS,
)
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Finding, Quantity, Values

_FIO2 = Quantity("fio2", ("FiO2",), "", 0.21, 0.8, 2)
_CONFUSION = Finding("confusion", ("new confusion", "confused"), "alert and oriented")


def _alveolar(v: Values) -> float:
    return v["fio2"] * (760 - 47) - v["paco2"] / 0.8


def _gradient(v: Values) -> float:
    return _alveolar(v) - v["pao2"]


def _pf_ratio(v: Values) -> float:
    return v["pao2"] / v["fio2"]


def _curb65(v: Values) -> float:
    low_pressure = v["sbp"] < 90 or v["dbp"] <= 60
    return v["confusion"] + (v["bun"] > 19) + (v["rr"] >= 30) + low_pressure + (v["age"] >= 65)


def _wells_pe(v: Values) -> float:
    points = 3 * v["dvt"] + 3 * v["likely"] + 1.5 * (v["hr"] > 100) + 1.5 * v["immobile"] + 1.5 * v["previous"]
    return points + v["hemoptysis"] + v["cancer"]


def _wells_dvt(v: Values) -> float:
    names = ("cancer", "paralysis", "bedridden", "tender", "swollen", "calf", "pitting", "collateral")
    return sum(v[name] for name in names) - 2 * v["alternative"]


def _sirs(v: Values) -> float:
    temperature = v["temp"] > 38 or v["temp"] < 36
    return temperature + (v["hr"] > 90) + (v["rr"] > 20) + (v["wbc"] > 12 or v["wbc"] < 4)


def _clear_of_cut_offs(v: Values) -> bool:
    """No temperature that a conversion from Fahrenheit could move over a cut-off."""
    return all(v["temp"] == cut or abs(v["temp"] - cut) > 0.02 for cut in (36.0, 38.0))


def _qsofa(v: Values) -> float:
    return (v["rr"] >= 22) + (v["sbp"] <= 100) + v["confusion"]


CALCULATORS = (
    Calculator(
        name="aa_gradient",
        system="pulmonary",
        citation=Citation("Mellemgaard K", "Acta Physiol Scand 67:10-20", 1966),
        asks=("A-a gradient at sea level", "alveolar-arterial oxygen gradient", "A-a O2 gradient"),
        inputs=(_FIO2, PACO2, PAO2),
        formula=_gradient,
        program="answer = {fio2} * (760 - 47) - {paco2} / 0.8 - {pao2}",
        possible=lambda v: _gradient(v) >= 8,
        statement="FiO2 * (760 - 47) - PaCO2 / 0.8 - PaO2",
        unit="mmHg",
        tolerance=0.02,
    ),
    Calculator(
        name="pf_ratio",
        system="pulmonary",
        citation=Citation("ARDS Definition Task Force", "JAMA 307:2526-2533", 2012),
        asks=("P/F ratio", "PaO2/FiO2 ratio", "oxygenation ratio (P/F)"),
        inputs=(_FIO2, PAO2),
        formula=_pf_ratio,
        program="answer = {pao2} / {fio2}",
        statement="PaO2 / FiO2",
        unit="mmHg",
        tolerance=0.02,
    ),
    Calculator(
        name="curb65",
        system="score",
        citation=Citation("Lim WS et al.", "Thorax 58:377-382", 2003),
        asks=("CURB-65 score", "CURB-65", "CURB-65 pneumonia severity points"),
        inputs=(_CONFUSION, BUN.in_base_unit(), RESPIRATORY_RATE, SYSTOLIC, DIASTOLIC),
        uses=("age",),
        formula=_curb65,
        program=("answer = sum([{confusion}, {bun} > 19, {rr} >= 30, {sbp} < 90 or {dbp} <= 60, {age} >= 65])"),
        possible=lambda v: 25 <= v["sbp"] - v["dbp"] <= 90,
        statement="1 each: confusion, BUN > 19 mg/dL, RR >= 30, SBP < 90 or DBP <= 60, age >= 65",
        whole=True,
        ages=(30, 92),
    ),
    Calculator(
        name="wells_pe",
        system="score",
        citation=Citation("Wells PS et al.", "Thromb Haemost 83:416-420", 2000),
        asks=("Wells score for PE", "Wells PE score", "Wells points for pulmonary embolism"),
        inputs=(
            Finding("dvt", ("clinical signs of DVT", "leg swelling with signs of DVT"), "no signs of DVT"),
            Finding("likely", ("PE most likely diagnosis",), "PE less likely than pneumonia", 0.4),
            HEART_RATE.between(60, 140),
            Finding("immobile", ("surgery 2 weeks ago", "bedridden for 4 days"), "no recent surgery", 0.3),
            Finding("previous", ("prior DVT", "prior PE"), "no prior PE or DVT", 0.25),
            Finding("hemoptysis", ("hemoptysis",), "no hemoptysis", 0.25),
            Finding("cancer", ("active cancer",), "no cancer", 0.25),
        ),
        formula=_wells_pe,
        program=(
            "answer = sum(dict(dvt={dvt3}, likely={likely3}, hr=1.5 * ({hr} > 100), immobile={immobile15}, "
            "previous={previous15}, hemoptysis={hemoptysis}, cancer={cancer}).values())"
        ),
        parts=lambda v: {
            "dvt3": f"{3 * v['dvt']:g}",
            "likely3": f"{3 * v['likely']:g}",
            "immobile15": f"{1.5 * v['immobile']:g}",
            "previous15": f"{1.5 * v['previous']:g}",
        },
        statement=(
            "3 each: signs of DVT, PE most likely; 1.5 each: HR > 100, immobility or surgery, prior PE or DVT; "
            "1 each: hemoptysis, cancer"
        ),
        tolerance=0.0,
    ),
    Calculator(
        name="wells_dvt",
        system="score",
        citation=Citation("Wells PS et al.", "N Engl J Med 349:1227-1235", 2003),
        asks=("Wells score for DVT", "Wells DVT score", "Wells points for deep vein thrombosis"),
        inputs=(
            Finding("cancer", ("active cancer",), "no cancer", 0.25),
            Finding("paralysis", ("leg paralysis", "leg in plaster cast"), "no paralysis", 0.2),
            Finding("bedridden", ("bedridden for 4 days", "surgery 5 weeks ago"), "ambulatory", 0.3),
            Finding("tender", ("tender deep veins",), "no vein tenderness", 0.4),
            Finding("swollen", ("entire leg swollen",), "no whole-leg swelling", 0.35),
            Finding("calf", ("calf swelling of 4 cm",), "calves equal", 0.4),
            Finding("pitting", ("pitting edema of that leg",), "no edema", 0.35),
            Finding("collateral", ("collateral superficial veins",), "no collateral veins", 0.2),
            Finding("alternative", ("cellulitis as likely",), "no alternative diagnosis", 0.3),
        ),
        formula=_wells_dvt,
        program=(
            "answer = sum(dict(cancer={cancer}, paralysis={paralysis}, bedridden={bedridden}, tender={tender}, "
            "swollen={swollen}, calf={calf}, pitting={pitting}, collateral={collateral}, "
            "alternative={minus2}).values())"
        ),
        parts=lambda v: {"minus2": f"{0 - 2 * v['alternative']:g}"},
        statement="1 for each sign, -2 if another diagnosis is as likely",
        whole=True,
    ),
    Calculator(
        name="sirs",
        system="score",
        citation=Citation("Bone RC et al.", "Chest 101:1644-1655", 1992),
        asks=("number of SIRS criteria", "SIRS criteria met", "SIRS count"),
        inputs=(TEMPERATURE, HEART_RATE, RESPIRATORY_RATE, WHITE_CELLS),
        formula=_sirs,
        program=("answer = sum([{temp} > 38 or {temp} < 36, {hr} > 90, {rr} > 20, {wbc} > 12 or {wbc} < 4])"),
        possible=_clear_of_cut_offs,
        statement="1 each: T > 38 or < 36 C, HR > 90, RR > 20, WBC > 12 or < 4",
        whole=True,
    ),
    Calculator(
        name="qsofa",
        system="score",
        citation=Citation("Singer M et al.", "JAMA 315:801-810", 2016),
        asks=("qSOFA score", "qSOFA", "quick SOFA points"),
        inputs=(RESPIRATORY_RATE, SYSTOLIC, _CONFUSION),
        formula=_qsofa,
        program="answer = sum([{rr} >= 22, {sbp} <= 100, {confusion}])",
        statement="1 each: RR >= 22, SBP <= 100, altered mentation",
        whole=True,
    ),
)
