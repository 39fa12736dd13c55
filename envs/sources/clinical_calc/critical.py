"""Second edition: consciousness and severity in intensive care."""

from collections.abc import Sequence

from copilot.envs.sources.clinical_calc.quantities import (
    BILIRUBIN,
    CREATININE,
    HEART_RATE,
    PAO2,
    PLATELETS,
    POTASSIUM,
    RESPIRATORY_RATE,
    SODIUM,
    TEMPERATURE,
    WHITE_CELLS,
)
from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Grading, Quantity, Values

_GCS = Quantity("gcs", ("Glasgow Coma Scale", "GCS"), "", 3, 15)
_MAP = Quantity("map", ("mean arterial pressure", "MAP"), "mmHg", 40, 165)
_PH = Quantity("ph", ("arterial pH", "pH"), "", 7.05, 7.68, 2)
_HEMATOCRIT = Quantity("hct", ("hematocrit", "Hct"), "%", 17, 58)
_PF = Quantity("pf", ("PaO2/FiO2", "P/F"), "mmHg", 60, 480)

_APACHE: dict[str, tuple[list[float], list[int]]] = {
    "temp": ([30, 32, 34, 36, 38.5, 39, 41], [4, 3, 2, 1, 0, 1, 3, 4]),
    "map": ([50, 70, 110, 130, 160], [4, 2, 0, 2, 3, 4]),
    "hr": ([40, 55, 70, 110, 140, 180], [4, 3, 2, 0, 2, 3, 4]),
    "rr": ([6, 10, 12, 25, 35, 50], [4, 2, 1, 0, 1, 3, 4]),
    "pao2": ([55, 61, 71], [4, 3, 1, 0]),
    "ph": ([7.15, 7.25, 7.33, 7.5, 7.6, 7.7], [4, 3, 2, 0, 1, 3, 4]),
    "sodium": ([111, 120, 130, 150, 155, 160, 180], [4, 3, 2, 0, 1, 2, 3, 4]),
    "potassium": ([2.5, 3, 3.5, 5.5, 6, 7], [4, 2, 1, 0, 1, 3, 4]),
    "creatinine": ([0.6, 1.5, 2, 3.5], [2, 0, 2, 3, 4]),
    "hct": ([20, 30, 46, 50, 60], [4, 2, 0, 1, 2, 4]),
    "wbc": ([1, 3, 15, 20, 40], [4, 2, 0, 1, 2, 4]),
    "age": ([45, 55, 65, 75], [0, 2, 3, 5, 6]),
}
"""Cut points in rising order, and the points below the first, between them, and from the last on."""


def _points(value: float, cuts: Sequence[float], points: Sequence[int]) -> int:
    for cut, score in zip(cuts, points, strict=False):
        if value < cut:
            return score
    return points[-1]


def _apache(v: Values) -> float:
    measured = sum(_points(v[name], *bands) for name, bands in _APACHE.items())
    return measured + 15 - v["gcs"] + v["chronic"]


def _sofa(v: Values) -> float:
    pf = v["pf"]
    lungs = (4 if pf < 100 else 3) if pf < 200 and v["ventilated"] else 2 if pf < 300 else 1 if pf < 400 else 0
    clotting = 4 - sum(v["platelets"] >= cut for cut in (20, 50, 100, 150))
    liver = _points(v["bilirubin"], (1.2, 2, 6, 12), (0, 1, 2, 3, 4))
    brain = _points(v["gcs"], (6, 10, 13, 15), (4, 3, 2, 1, 0))
    kidney = _points(v["creatinine"], (1.2, 2, 3.5, 5), (0, 1, 2, 3, 4))
    return lungs + clotting + liver + v["circulation"] + brain + kidney


def _table(names: Sequence[str]) -> str:
    rows = (f"({{{name}}}, {list(_APACHE[name][0])}, {list(_APACHE[name][1])})" for name in names)
    return ", ".join(rows)


CALCULATORS = (
    Calculator(
        name="gcs",
        system="score",
        citation=Citation("Teasdale G, Jennett B", "Lancet 304:81-84", 1974),
        asks=("Glasgow Coma Scale", "GCS", "total Glasgow coma score"),
        inputs=(
            Grading(
                "eye",
                (
                    (4, "eyes open spontaneously"),
                    (3, "eyes open to voice"),
                    (2, "eyes open to pain"),
                    (1, "eyes stay shut"),
                ),
            ),
            Grading(
                "verbal",
                (
                    (5, "oriented speech"),
                    (4, "confused speech"),
                    (3, "inappropriate words"),
                    (2, "incomprehensible sounds"),
                    (1, "no sound"),
                ),
            ),
            Grading(
                "motor",
                (
                    (6, "obeys commands"),
                    (5, "localizes pain"),
                    (4, "withdraws from pain"),
                    (3, "flexor posturing"),
                    (2, "extensor posturing"),
                    (1, "no movement"),
                ),
            ),
        ),
        formula=lambda v: v["eye"] + v["verbal"] + v["motor"],
        program="answer = {eye} + {verbal} + {motor}",
        statement=(
            "eyes 4 spontaneous, 3 voice, 2 pain, 1 none; speech 5 oriented, 4 confused, 3 words, 2 sounds, 1 none; "
            "motor 6 obeys, 5 localizes, 4 withdraws, 3 flexion, 2 extension, 1 none"
        ),
        whole=True,
    ),
    Calculator(
        name="sofa",
        system="score",
        citation=Citation("Vincent JL et al.", "Intensive Care Med 22:707-710", 1996),
        asks=("SOFA score", "SOFA", "Sequential Organ Failure Assessment"),
        inputs=(
            _PF,
            Grading("ventilated", ((0, "breathing spontaneously"), (1, "mechanically ventilated"))),
            PLATELETS.between(12, 300),
            BILIRUBIN.between(0.4, 14).in_base_unit(),
            Grading(
                "circulation",
                (
                    (0, "MAP 80 mmHg without vasopressors"),
                    (1, "MAP 62 mmHg without vasopressors"),
                    (2, "on dobutamine"),
                    (3, "norepinephrine 0.06 ug/kg/min"),
                    (4, "norepinephrine 0.3 ug/kg/min"),
                ),
            ),
            _GCS,
            CREATININE.between(0.6, 6).in_base_unit(),
        ),
        formula=_sofa,
        program=(
            "lungs = ({pf} < 400) + ({pf} < 300) + {ventilated} * (({pf} < 200) + ({pf} < 100))\n"
            "clotting = sum([{platelets} < c for c in (150, 100, 50, 20)])\n"
            "liver = sum([{bilirubin} >= c for c in (1.2, 2, 6, 12)])\n"
            "brain = sum([{gcs} < c for c in (15, 13, 10, 6)])\n"
            "kidney = sum([{creatinine} >= c for c in (1.2, 2, 3.5, 5)])\n"
            "answer = lungs + clotting + liver + {circulation} + brain + kidney"
        ),
        statement=(
            "P/F < 400 1, < 300 2, ventilated < 200 3, < 100 4; platelets < 150 1, < 100 2, < 50 3, < 20 4; "
            "bilirubin >= "
            "1.2 1, 2 2, 6 3, 12 4; MAP < 70 1, dobutamine 2, norepinephrine <= 0.1 3, > 0.1 4; GCS 13-14 1, 10-12 "
            "2, 6-9 "
            "3, < 6 4; creatinine >= 1.2 1, 2 2, 3.5 3, 5 4"
        ),
        whole=True,
        avoid=("spo2",),
    ),
    Calculator(
        name="apache2",
        system="score",
        citation=Citation("Knaus WA et al.", "Crit Care Med 13:818-829", 1985),
        asks=("APACHE II score (no acute renal failure, room air)", "APACHE II, room air, no ARF", "APACHE II points"),
        inputs=(
            TEMPERATURE.between(29, 41.8).in_base_unit(),
            _MAP,
            HEART_RATE.between(35, 185),
            RESPIRATORY_RATE.between(5, 54),
            PAO2.between(45, 100),
            _PH,
            SODIUM.between(108, 182),
            POTASSIUM.between(2.2, 7.4),
            CREATININE.between(0.4, 4.4).in_base_unit(),
            _HEMATOCRIT,
            WHITE_CELLS.between(0.5, 44),
            _GCS,
            Grading(
                "chronic",
                (
                    (0, "no chronic organ failure"),
                    (2, "cirrhosis, after elective surgery"),
                    (5, "cirrhosis, after emergency surgery"),
                ),
            ),
        ),
        uses=("age",),
        formula=_apache,
        program=(
            f"rows = [{_table(list(_APACHE))}]\n"
            "answer = sum([p[sum([x >= c for c in cuts])] for x, cuts, p in rows]) + 15 - {gcs} + {chronic}"
        ),
        statement=(
            "points 4-0-4 by bands of T, MAP, HR, RR, PaO2, pH, Na, K, creatinine, Hct and WBC as published; + 15 - "
            "GCS; age "
            "45-54 2, 55-64 3, 65-74 5, >= 75 6; chronic organ failure 5, after elective surgery 2"
        ),
        whole=True,
        avoid=("spo2", "hb"),
    ),
)
