"""Second edition: bleeding and clots, and the burden of other diseases."""

from copilot.envs.sources.clinical_calc.quantities import BUN, HAEMOGLOBIN, HEART_RATE, SATURATION, SYSTOLIC
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Finding, Grading, Values


def _perc(v: Values) -> float:
    names = ("leg", "hemoptysis", "surgery", "previous", "hormones")
    return (v["age"] >= 50) + (v["hr"] >= 100) + (v["spo2"] < 95) + sum(v[name] for name in names)


def _blatchford_urea(bun: float) -> int:
    if bun >= 70:
        return 6
    return 4 if bun >= 28 else 3 if bun >= 22.4 else 2 if bun >= 18.2 else 0


def _blatchford_hb(hb: float, female: float) -> int:
    if hb < 10:
        return 6
    if female:
        return 1 if hb < 12 else 0
    return 3 if hb < 12 else 1 if hb < 13 else 0


def _blatchford(v: Values) -> float:
    pressure = 3 if v["sbp"] < 90 else 2 if v["sbp"] < 100 else 1 if v["sbp"] < 110 else 0
    blood = _blatchford_urea(v["bun"]) + _blatchford_hb(v["hb"], v["female"])
    return blood + pressure + (v["hr"] >= 100) + v["melena"] + 2 * (v["syncope"] + v["liver"] + v["chf"])


_CHARLSON = {"mi": 1, "chf": 1, "pvd": 1, "cva": 1, "dementia": 1, "copd": 1, "tissue": 1, "ulcer": 1}
_CHARLSON_HEAVY = {"hemiplegia": 2, "kidney": 2, "leukemia": 2, "aids": 6}


def _charlson(v: Values) -> float:
    age = min(max(int((v["age"] - 40) // 10), 0), 4)
    findings = sum(points * v[name] for name, points in (_CHARLSON | _CHARLSON_HEAVY).items())
    return findings + v["diabetes"] + v["liver"] + v["tumor"] + age


_CAPRINI_ONE = ("obese", "swollen", "varicose", "sepsis", "lung", "mi", "chf", "ibd")
_CAPRINI_TWO = ("malignancy", "cast", "catheter")
_CAPRINI_THREE = ("previous", "family", "leiden")


def _caprini(v: Values) -> float:
    age = 3 if v["age"] >= 75 else 2 if v["age"] >= 61 else 1 if v["age"] >= 41 else 0
    findings = sum(v[n] for n in _CAPRINI_ONE) + 2 * sum(v[n] for n in _CAPRINI_TWO)
    return age + v["surgery"] + findings + 3 * sum(v[n] for n in _CAPRINI_THREE) + 5 * v["stroke"]


CALCULATORS = (
    Calculator(
        name="perc",
        system="score",
        citation=Citation("Kline JA et al.", "J Thromb Haemost 2:1247-1255", 2004),
        asks=("number of positive PERC criteria", "PERC criteria met", "PERC rule count"),
        inputs=(
            HEART_RATE.between(60, 130),
            SATURATION,
            Finding("leg", ("unilateral leg swelling",), "legs of equal girth", 0.25),
            Finding("hemoptysis", ("hemoptysis",), "no hemoptysis", 0.2),
            Finding("surgery", ("surgery 2 weeks ago", "trauma 3 weeks ago"), "no recent operations", 0.25),
            Finding("previous", ("prior PE", "prior DVT"), "no earlier thrombosis", 0.25),
            Finding("hormones", ("on estrogen",), "no hormones", 0.2),
        ),
        uses=("age",),
        formula=_perc,
        program=(
            "answer = sum([{age} >= 50, {hr} >= 100, {spo2} < 95, {leg}, {hemoptysis}, {surgery}, {previous}, "
            "{hormones}])"
        ),
        statement=(
            "1 each: age >= 50, HR >= 100, SpO2 < 95 %, unilateral leg swelling, hemoptysis, surgery or trauma "
            "within 4 "
            "weeks, prior PE or DVT, hormone use"
        ),
        whole=True,
    ),
    Calculator(
        name="blatchford",
        system="score",
        citation=Citation("Blatchford O, Murray WR, Blatchford M", "Lancet 356:1318-1321", 2000),
        asks=("Glasgow-Blatchford score", "GBS for upper GI bleeding", "Blatchford bleeding score"),
        inputs=(
            BUN.between(10, 85).in_base_unit(),
            HAEMOGLOBIN,
            SYSTOLIC,
            HEART_RATE,
            Finding("melena", ("melena",), "brown stool", 0.5),
            Finding("syncope", ("syncope",), "no syncope", 0.25),
            Finding("liver", ("cirrhosis",), "no liver disease", 0.25),
            Finding("chf", ("heart failure",), "normal ejection fraction", 0.25),
        ),
        uses=("female",),
        formula=_blatchford,
        program=(
            "urea = 2 * ({bun} >= 18.2) + ({bun} >= 22.4) + ({bun} >= 28) + 2 * ({bun} >= 70)\n"
            "answer = urea + {hemoglobin} + ({sbp} < 110) + ({sbp} < 100) + ({sbp} < 90) + ({hr} >= 100) + {melena} "
            "+ 2 * {syncope} + 2 * {liver} + 2 * {chf}"
        ),
        parts=lambda v: {
            "hemoglobin": f"({v['hb']:g} < 12) + 5 * ({v['hb']:g} < 10)"
            if v["female"]
            else f"({v['hb']:g} < 13) + 2 * ({v['hb']:g} < 12) + 3 * ({v['hb']:g} < 10)"
        },
        statement=(
            "BUN mg/dL 18.2-22.3 2, 22.4-27.9 3, 28-69.9 4, >= 70 6; Hb men 12-12.9 1, 10-11.9 3, < 10 6, women "
            "10-11.9 1, "
            "< 10 6; SBP 100-109 1, 90-99 2, < 90 3; HR >= 100 1; melena 1; syncope, liver disease, CHF 2 each"
        ),
        whole=True,
    ),
    Calculator(
        name="charlson",
        system="score",
        citation=Citation("Charlson M et al.", "J Clin Epidemiol 47:1245-1251", 1994),
        asks=("age-adjusted Charlson comorbidity index", "Charlson index with age", "CCI (age-adjusted)"),
        inputs=(
            Finding("mi", ("prior myocardial infarction",), "no infarction", 0.25),
            Finding("chf", ("heart failure",), "normal ejection fraction", 0.25),
            Finding("pvd", ("peripheral artery disease",), "palpable foot pulses", 0.2),
            Finding("cva", ("prior stroke", "prior TIA"), "no cerebrovascular disease", 0.2),
            Finding("dementia", ("dementia",), "intact cognition", 0.15),
            Finding("copd", ("COPD",), "clear lungs", 0.25),
            Finding("tissue", ("rheumatoid arthritis", "lupus"), "no rheumatic disease", 0.15),
            Finding("ulcer", ("peptic ulcer disease",), "no ulcers", 0.15),
            Grading(
                "liver", ((0, "normal liver"), (1, "chronic hepatitis"), (3, "cirrhosis with portal hypertension"))
            ),
            Grading("diabetes", ((0, "no diabetes"), (1, "uncomplicated diabetes"), (2, "diabetic nephropathy"))),
            Finding("hemiplegia", ("hemiplegia",), "normal gait", 0.1),
            Finding("kidney", ("on dialysis",), "normal renal function", 0.15),
            Grading("tumor", ((0, "no solid tumor"), (2, "localized colon cancer"), (6, "metastatic colon cancer"))),
            Finding("leukemia", ("leukemia", "lymphoma"), "normal blood count", 0.1),
            Finding("aids", ("AIDS",), "HIV negative", 0.05),
        ),
        possible=lambda v: not (v["diabetes"] == 2 and v["kidney"]),
        uses=("age",),
        formula=_charlson,
        program=(
            "answer = {mi} + {chf} + {pvd} + {cva} + {dementia} + {copd} + {tissue} + {ulcer} + {liver} + {diabetes} "
            "+ 2 * {hemiplegia} + 2 * {kidney} + {tumor} + 2 * {leukemia} + 6 * {aids}\n"
            "answer += min(max(({age} - 40) // 10, 0), 4)"
        ),
        statement=(
            "1 each: MI, CHF, PVD, stroke or TIA, dementia, COPD, connective tissue disease, ulcer, mild liver "
            "disease, "
            "diabetes; 2: hemiplegia, kidney disease, diabetes with organ damage, tumor, leukemia or lymphoma; 3: "
            "severe "
            "liver disease; 6: metastatic tumor, AIDS; age 50-59 1, 60-69 2, 70-79 3, >= 80 4"
        ),
        whole=True,
        ages=(35, 90),
        avoid=("creatinine", "glucose"),
    ),
    Calculator(
        name="caprini",
        system="score",
        citation=Citation("Caprini JA", "Dis Mon 51:70-78", 2005),
        asks=("Caprini score", "Caprini VTE risk score", "Caprini points before surgery"),
        inputs=(
            Grading(
                "surgery",
                (
                    (1, "for minor surgery"),
                    (2, "for open surgery of 2 hours"),
                    (5, "for elective knee replacement"),
                ),
            ),
            Finding("obese", ("BMI 33 kg/m2",), "BMI 22 kg/m2", 0.35),
            Finding("swollen", ("swollen legs",), "slim legs", 0.2),
            Finding("varicose", ("varicose veins",), "no varices", 0.2),
            Finding("sepsis", ("sepsis 2 weeks ago",), "no infection", 0.1),
            Finding("lung", ("COPD",), "clear lungs", 0.2),
            Finding("mi", ("myocardial infarction 2 weeks ago",), "no infarction", 0.1),
            Finding("chf", ("heart failure decompensated last week",), "normal ejection fraction", 0.1),
            Finding("ibd", ("Crohn disease", "ulcerative colitis"), "no bowel disease", 0.15),
            Finding("malignancy", ("present cancer",), "no malignancy", 0.2),
            Finding("cast", ("leg in plaster cast",), "no cast", 0.1),
            Finding("catheter", ("central venous line",), "peripheral line only", 0.25),
            Finding("previous", ("prior DVT", "prior PE"), "no earlier thrombosis", 0.2),
            Finding("family", ("mother with thrombosis",), "unremarkable family history", 0.15),
            Finding("leiden", ("factor V Leiden",), "no known thrombophilia", 0.1),
            Finding("stroke", ("stroke 2 weeks ago",), "no cerebrovascular disease", 0.1),
        ),
        uses=("age",),
        formula=_caprini,
        program=(
            "age = ({age} >= 41) + ({age} >= 61) + ({age} >= 75)\n"
            "one = {obese} + {swollen} + {varicose} + {sepsis} + {lung} + {mi} + {chf} + {ibd}\n"
            "two = {malignancy} + {cast} + {catheter}\nthree = {previous} + {family} + {leiden}\n"
            "answer = age + {surgery} + one + 2 * two + 3 * three + 5 * {stroke}"
        ),
        statement=(
            "age 41-60 1, 61-74 2, >= 75 3; minor surgery 1, major over 45 min 2, arthroplasty 5; 1 each: BMI > 25, "
            "swollen "
            "legs, varicose veins, sepsis, COPD, acute MI, CHF within a month, inflammatory bowel disease; 2 each: "
            "cancer, "
            "plaster cast, central access; 3 each: prior VTE, family history, factor V Leiden; 5: stroke within a month"
        ),
        whole=True,
        ages=(25, 88),
        avoid=("weight",),
    ),
)
