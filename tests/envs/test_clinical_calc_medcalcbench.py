"""Our formulas against MedCalc-Bench's ground truth (CC BY-SA data, read from the user's copy, never shipped)."""

import ast
import csv
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from copilot.envs.sources.clinical_calc.catalogue import CALCULATORS

pytestmark = pytest.mark.skipif("MED_COPILOT_DATA" not in os.environ, reason="MED_COPILOT_DATA is not set")

THEIRS = {
    "Free Water Deficit": "free_water_deficit",
    "Body Mass Index (BMI)": "bmi",
    "Ideal Body Weight": "ideal_body_weight",
    "Adjusted Body Weight": "adjusted_body_weight",
    "Sodium Correction for Hyperglycemia": "corrected_sodium",
    "Mean Arterial Pressure (MAP)": "map",
    "Maintenance Fluids Calculations": "maintenance_fluids",
    "CKD-EPI Equations for Glomerular Filtration Rate": "ckd_epi_2021",
    "Body Surface Area Calculator": "bsa_mosteller",
    "Calcium Correction for Hypoalbuminemia": "corrected_calcium",
    "Serum Osmolality": "osmolality",
    "Delta Ratio": "delta_ratio",
    "QTc Fridericia Calculator": "qtc_fridericia",
    "QTc Framingham Calculator": "qtc_framingham",
    "QTc Hodges Calculator": "qtc_hodges",
    "QTc Bazett Calculator": "qtc_bazett",
    "LDL Calculated": "ldl_friedewald",
    "Fibrosis-4 (FIB-4) Index for Liver Fibrosis": "fib4",
    "Anion Gap": "anion_gap",
    "Albumin Corrected Anion Gap": "albumin_anion_gap",
}
"""Calculators whose inputs are plain measurements, by MedCalc-Bench's names."""

FIELDS = {
    "weight": ("weight", {"kg": 1.0, "g": 0.001, "lbs": 1 / 2.20462}),
    "height": ("height", {"cm": 1.0, "m": 100.0, "in": 2.54}),
    "Sodium": ("sodium", {"mEq/L": 1.0, "mmol/L": 1.0}),
    "Chloride": ("chloride", {"mEq/L": 1.0, "mmol/L": 1.0}),
    "Bicarbonate": ("bicarbonate", {"mEq/L": 1.0, "mmol/L": 1.0}),
    "Albumin": ("albumin", {"g/dL": 1.0, "g/L": 0.1}),
    "Calcium": ("calcium", {"mg/dL": 1.0}),
    "Glucose": ("glucose", {"mg/dL": 1.0}),
    "creatinine": ("creatinine", {"mg/dL": 1.0, "µmol/L": 1 / 88.4}),
    "Blood Urea Nitrogen (BUN)": ("bun", {"mg/dL": 1.0}),
    "Systolic Blood Pressure": ("sbp", {"mm hg": 1.0, "mmhg": 1.0}),
    "Diastolic Blood Pressure": ("dbp", {"mm hg": 1.0, "mmhg": 1.0}),
    "Heart Rate or Pulse": ("hr", {"beats per minute": 1.0, "bpm": 1.0}),
    "QT interval": ("qt", {"msec": 1.0}),
    "high-density lipoprotein cholesterol": ("hdl", {"mg/dL": 1.0, "mmol/L": 38.67}),
    "Total cholesterol": ("total", {"mg/dL": 1.0, "mmol/L": 38.67}),
    "Triglycerides": ("triglycerides", {"mg/dL": 1.0, "mmol/L": 88.57}),
    "Alanine aminotransferase": ("alt", {"U/L": 1.0}),
    "Aspartate aminotransferase": ("ast", {"U/L": 1.0}),
    "Platelet count": ("platelets", {"µL": 0.001}),
    "age": ("age", {"years": 1.0}),
}
"""Our input and its factor per unit; rows with other units are left out."""


def read_values(entities: dict[str, object]) -> dict[str, float] | None:
    values: dict[str, float] = {}
    for key, entry in entities.items():
        if key == "sex":
            values["female"] = float(entry == "Female")
        else:
            number, unit = entry if isinstance(entry, list) else (None, None)
            name, factors = FIELDS[key]
            if unit not in factors:
                return None
            values[name] = number * factors[unit]
    if "height" in values:
        values["height_in"] = values["height"] / 2.54
    return values


def test_formulas_agree_with_medcalc_bench() -> None:
    path = Path(os.environ["MED_COPILOT_DATA"], "medcalc_bench/medcalc_v1_dev_no_test_notes.csv.gz")
    agreed: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    csv.field_size_limit(10**8)
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            name = THEIRS.get(row["Calculator Name"])
            values = read_values(ast.literal_eval(row["Relevant Entities"])) if name else None
            if name is None or values is None:
                continue
            if name == "free_water_deficit" and not 18 <= values["age"] < 65:
                continue  # they use smaller shares of body water for the old; we follow the paper's adults
            low, high = sorted((float(row["Lower Limit"]), float(row["Upper Limit"])))
            compared[name] += 1
            agreed[name] += low - 0.01 <= CALCULATORS[name].formula(values) <= high + 0.01
    assert set(compared) == set(THEIRS.values())
    assert sum(compared.values()) > 550
    # their released labels hold a few slips; a wrong formula of ours would miss nearly every row of a calculator
    assert sum(agreed.values()) / sum(compared.values()) > 0.98
    assert not {n: (agreed[n], compared[n]) for n in compared if agreed[n] < 0.9 * compared[n] - 1}
