"""Laboratory items, vital signs, fluids, drugs and organisms of the generated hospital.

Item ids, labels and units are MIMIC-III's public dictionary; means and spreads describe adult intensive-care patients,
from general knowledge. An illness group shifts a value by so many spreads (``LAB_SHIFTS``).
"""

from typing import NamedTuple


class Lab(NamedTuple):
    """A laboratory item with the distribution of its values."""

    itemid: int
    label: str
    unit: str
    mean: float
    spread: float
    low: float
    high: float
    decimals: int
    panel: str


class Vital(NamedTuple):
    """A bedside measurement."""

    itemid: int
    label: str
    unit: str
    mean: float
    spread: float
    low: float
    high: float
    decimals: int


class Drug(NamedTuple):
    """A drug as the pharmacy orders it; ``group`` is the illness it treats, ``common`` for everybody."""

    drug: str
    dose: str
    unit: str
    routes: tuple[str, ...]
    weight: float
    group: str


LABS = (
    Lab(50912, "creatinine", "mg/dl", 1.0, 0.35, 0.3, 12, 1, "chemistry"),
    Lab(51006, "urea nitrogen", "mg/dl", 22, 10, 4, 140, 0, "chemistry"),
    Lab(50983, "sodium", "meq/l", 139, 3.6, 118, 160, 0, "chemistry"),
    Lab(50971, "potassium", "meq/l", 4.1, 0.5, 2.4, 7.2, 1, "chemistry"),
    Lab(50902, "chloride", "meq/l", 104, 4.8, 84, 126, 0, "chemistry"),
    Lab(50882, "bicarbonate", "meq/l", 25, 3.6, 8, 42, 0, "chemistry"),
    Lab(50868, "anion gap", "meq/l", 13.5, 2.8, 5, 32, 0, "chemistry"),
    Lab(50931, "glucose", "mg/dl", 128, 32, 42, 620, 0, "chemistry"),
    Lab(50893, "calcium, total", "mg/dl", 8.5, 0.6, 6, 12.5, 1, "chemistry"),
    Lab(50960, "magnesium", "mg/dl", 2.0, 0.28, 1.0, 3.8, 1, "chemistry"),
    Lab(50970, "phosphate", "mg/dl", 3.5, 0.8, 1.0, 9.5, 1, "chemistry"),
    Lab(51221, "hematocrit", "%", 32, 4.4, 16, 54, 1, "count"),
    Lab(51222, "hemoglobin", "g/dl", 10.8, 1.6, 5, 18, 1, "count"),
    Lab(51301, "white blood cells", "k/ul", 9.6, 3.2, 0.4, 45, 1, "count"),
    Lab(51265, "platelet count", "k/ul", 225, 85, 12, 780, 0, "count"),
    Lab(51279, "red blood cells", "m/ul", 3.6, 0.5, 1.8, 6, 2, "count"),
    Lab(51250, "mcv", "fl", 90, 5.5, 68, 118, 0, "count"),
    Lab(51277, "rdw", "%", 14.8, 1.6, 11.5, 25, 1, "count"),
    Lab(51237, "inr(pt)", "", 1.3, 0.3, 0.8, 8, 1, "coagulation"),
    Lab(51274, "pt", "sec", 14.3, 2.4, 10, 60, 1, "coagulation"),
    Lab(51275, "ptt", "sec", 34, 9, 19, 150, 1, "coagulation"),
    Lab(50813, "lactate", "mmol/l", 1.7, 0.6, 0.5, 15, 1, "gas"),
    Lab(50820, "ph", "units", 7.39, 0.05, 6.95, 7.62, 2, "gas"),
    Lab(50818, "pco2", "mm hg", 41, 6.5, 20, 98, 0, "gas"),
    Lab(50821, "po2", "mm hg", 118, 45, 35, 420, 0, "gas"),
    Lab(50808, "free calcium", "mmol/l", 1.13, 0.07, 0.8, 1.5, 2, "gas"),
    Lab(50861, "alanine aminotransferase (alt)", "iu/l", 30, 14, 5, 2500, 0, "liver"),
    Lab(50878, "asparate aminotransferase (ast)", "iu/l", 36, 16, 8, 3000, 0, "liver"),
    Lab(50863, "alkaline phosphatase", "iu/l", 84, 30, 22, 900, 0, "liver"),
    Lab(50885, "bilirubin, total", "mg/dl", 0.7, 0.35, 0.1, 30, 1, "liver"),
    Lab(50862, "albumin", "g/dl", 3.3, 0.5, 1.2, 5.2, 1, "liver"),
    Lab(51003, "troponin t", "ng/ml", 0.03, 0.02, 0.01, 15, 2, "heart"),
    Lab(50910, "creatine kinase (ck)", "iu/l", 120, 60, 18, 9000, 0, "heart"),
    Lab(50911, "creatine kinase, mb isoenzyme", "ng/ml", 4, 1.6, 1, 260, 0, "heart"),
    Lab(50954, "lactate dehydrogenase (ld)", "iu/l", 215, 60, 90, 3000, 0, "blood"),
    Lab(50924, "ferritin", "ng/ml", 210, 110, 10, 5000, 0, "blood"),
    Lab(50956, "lipase", "iu/l", 32, 14, 5, 3500, 0, "gut"),
    Lab(50852, "% hemoglobin a1c", "%", 5.9, 0.6, 4.2, 14, 1, "diabetes"),
    Lab(50993, "thyroid stimulating hormone", "uiu/ml", 2.1, 1.0, 0.1, 60, 1, "thyroid"),
    Lab(50889, "c-reactive protein", "mg/l", 28, 18, 0.3, 300, 1, "infection"),
    Lab(51009, "vancomycin", "ug/ml", 15, 4.5, 3, 45, 1, "infection"),
)

PANEL_CHANCE = {
    "chemistry": 0.9,
    "count": 0.85,
    "coagulation": 0.4,
    "gas": 0.25,
    "liver": 0.15,
    "heart": 0.06,
    "blood": 0.04,
    "gut": 0.03,
    "diabetes": 0.02,
    "thyroid": 0.02,
    "infection": 0.03,
}
"""Chance that a panel is drawn on a day, for a patient without the illness of the same name."""

PANEL_FOR_GROUP = {
    "coronary": "heart",
    "heart": "heart",
    "liver": "liver",
    "lung": "gas",
    "bleeding": "coagulation",
    "infection": "infection",
    "diabetes": "diabetes",
    "thyroid": "thyroid",
    "gut": "gut",
    "blood": "blood",
    "cancer": "blood",
}
"""Panel an illness asks for oftener."""

LAB_SHIFTS: dict[str, dict[str, float]] = {
    "renal": {
        "creatinine": 6,
        "urea nitrogen": 3,
        "potassium": 1.1,
        "bicarbonate": -1.2,
        "phosphate": 1.6,
        "anion gap": 1.2,
        "hemoglobin": -0.5,
        "hematocrit": -0.5,
    },
    "infection": {
        "white blood cells": 2.0,
        "lactate": 2.2,
        "platelet count": -0.5,
        "c-reactive protein": 4,
        "bicarbonate": -0.7,
        "albumin": -1.0,
        "ph": -0.5,
    },
    "heart": {"urea nitrogen": 0.8, "creatinine": 0.8, "inr(pt)": 2.2, "pt": 2.0, "sodium": -0.4},
    "coronary": {"troponin t": 30, "creatine kinase (ck)": 6, "creatine kinase, mb isoenzyme": 9, "ptt": 1.2},
    "diabetes": {"glucose": 2.0, "% hemoglobin a1c": 3.2, "urea nitrogen": 0.4},
    "liver": {
        "bilirubin, total": 8,
        "alanine aminotransferase (alt)": 4,
        "asparate aminotransferase (ast)": 6,
        "alkaline phosphatase": 2,
        "albumin": -1.4,
        "inr(pt)": 1.8,
        "pt": 1.6,
        "platelet count": -1.1,
        "lipase": 5,
        "sodium": -0.8,
    },
    "bleeding": {"hemoglobin": -1.6, "hematocrit": -1.6, "red blood cells": -1.4, "lactate": 0.8},
    "blood": {"hemoglobin": -1.1, "hematocrit": -1.1, "platelet count": -1.0, "rdw": 1.2, "ferritin": 1.5},
    "lung": {"pco2": 1.2, "ph": -0.6, "po2": -0.6, "bicarbonate": 0.6, "white blood cells": 0.6},
    "cancer": {"hemoglobin": -0.9, "hematocrit": -0.9, "lactate dehydrogenase (ld)": 2.5, "calcium, total": 0.6},
    "thyroid": {"thyroid stimulating hormone": 3.5},
    "trauma": {"hemoglobin": -0.8, "hematocrit": -0.8, "creatine kinase (ck)": 3},
}

VITALS = (
    Vital(211, "heart rate", "bpm", 86, 14, 38, 168, 0),
    Vital(51, "arterial bp [systolic]", "mmhg", 121, 18, 62, 210, 0),
    Vital(8368, "arterial bp [diastolic]", "mmhg", 61, 11, 28, 118, 0),
    Vital(52, "arterial bp mean", "mmhg", 80, 12, 40, 145, 0),
    Vital(618, "respiratory rate", "bpm", 19, 4.5, 6, 45, 0),
    Vital(646, "spo2", "%", 97, 2, 80, 100, 0),
    Vital(677, "temperature c (calc)", "deg. c", 37.0, 0.6, 34.5, 40.6, 1),
    Vital(113, "cvp", "mmhg", 10, 4, 1, 28, 0),
    Vital(198, "gcs total", "points", 12, 2.6, 3, 15, 0),
)
WEIGHT = Vital(762, "admit wt", "kg", 81, 19, 40, 170, 1)

INPUTS = (
    (30013, "d5w", 25, 250),
    (30018, ".9% normal saline", 50, 1000),
    (30021, "lactated ringers", 100, 1000),
    (30056, "po intake", 60, 480),
    (30131, "propofol", 5, 60),
    (30118, "fentanyl", 1, 20),
    (30124, "midazolam", 1, 15),
    (30045, "insulin", 1, 10),
    (30025, "heparin", 5, 25),
    (30120, "levophed-k", 2, 30),
    (30001, "packed rbc", 250, 375),
    (30005, "fresh frozen plasma", 200, 300),
    (30008, "albumin 5%", 250, 500),
    (30144, "carrier", 10, 100),
)
"""Fluid intake: item id, label, least and most amount in ml."""

OUTPUTS = (
    (40055, "urine out foley", 15, 400),
    (40069, "urine out void", 80, 500),
    (40094, "urine out condom cath", 60, 450),
    (40052, "gastric out nasogastric", 20, 350),
    (40051, "gastric out gastric tube", 20, 300),
    (40048, "chest tubes cticu ct 1", 10, 150),
    (40079, "stool out stool", 50, 500),
    (40085, "drain out #1 jackson pratt", 5, 90),
)
"""Fluid output: item id, label, least and most value in ml."""

_IV, _PO = ("iv",), ("po",)
DRUGS = (
    Drug("potassium chloride", "40", "meq", ("po", "iv"), 12, "common"),
    Drug("insulin", "2", "unit", ("sc", "iv"), 8, "common"),
    Drug("insulin", "10", "unit", ("sc",), 10, "diabetes"),
    Drug("d5w", "250", "ml", _IV, 8, "common"),
    Drug("sodium chloride 0.9%", "1000", "ml", _IV, 9, "common"),
    Drug("0.9% sodium chloride", "500", "ml", _IV, 6, "common"),
    Drug("acetaminophen", "650", "mg", ("po", "pr"), 9, "common"),
    Drug("docusate sodium", "100", "mg", _PO, 7, "common"),
    Drug("senna", "1", "tab", _PO, 6, "common"),
    Drug("bisacodyl", "10", "mg", ("pr", "po"), 6, "common"),
    Drug("magnesium sulfate", "2", "gm", _IV, 7, "common"),
    Drug("heparin", "5000", "unit", ("sc", "iv"), 8, "common"),
    Drug("pantoprazole", "40", "mg", ("po", "iv"), 6, "common"),
    Drug("famotidine", "20", "mg", ("po", "iv"), 4, "common"),
    Drug("ondansetron", "4", "mg", ("iv", "po"), 4, "common"),
    Drug("morphine sulfate", "2", "mg", ("iv", "sc"), 6, "common"),
    Drug("hydromorphone (dilaudid)", "1", "mg", ("iv", "po"), 3, "common"),
    Drug("oxycodone-acetaminophen", "2", "tab", _PO, 3.5, "common"),
    Drug("lorazepam", "1", "mg", ("iv", "po"), 4.5, "common"),
    Drug("zolpidem tartrate", "5", "mg", _PO, 2, "common"),
    Drug("calcium gluconate", "2", "gm", _IV, 4.5, "common"),
    Drug("neutra-phos", "2", "pkt", _PO, 2, "common"),
    Drug("metoprolol", "25", "mg", ("po", "iv"), 9, "heart"),
    Drug("furosemide", "40", "mg", ("iv", "po"), 11, "heart"),
    Drug("warfarin", "5", "mg", _PO, 6, "heart"),
    Drug("amiodarone hcl", "200", "mg", ("po", "iv"), 5, "heart"),
    Drug("digoxin", "0.125", "mg", ("po", "iv"), 3.5, "heart"),
    Drug("lisinopril", "10", "mg", _PO, 5, "heart"),
    Drug("diltiazem", "30", "mg", ("po", "iv"), 3, "heart"),
    Drug("spironolactone", "25", "mg", _PO, 2.5, "heart"),
    Drug("aspirin", "325", "mg", ("po", "pr"), 11, "coronary"),
    Drug("aspirin ec", "81", "mg", _PO, 6, "coronary"),
    Drug("clopidogrel bisulfate", "75", "mg", _PO, 7, "coronary"),
    Drug("atorvastatin", "80", "mg", _PO, 8, "coronary"),
    Drug("simvastatin", "40", "mg", _PO, 4, "coronary"),
    Drug("nitroglycerin", "0.3", "mg", ("iv", "sl"), 6, "coronary"),
    Drug("captopril", "12.5", "mg", _PO, 3, "coronary"),
    Drug("hydralazine hcl", "10", "mg", ("iv", "po"), 3, "coronary"),
    Drug("vancomycin hcl", "1000", "mg", _IV, 11, "infection"),
    Drug("piperacillin-tazobactam na", "4.5", "gm", _IV, 7, "infection"),
    Drug("levofloxacin", "500", "mg", ("iv", "po"), 6, "infection"),
    Drug("metronidazole (flagyl)", "500", "mg", ("iv", "po"), 5, "infection"),
    Drug("ceftriaxone", "1", "gm", _IV, 5, "infection"),
    Drug("cefepime", "2", "gm", _IV, 4, "infection"),
    Drug("ciprofloxacin hcl", "500", "mg", ("po", "iv"), 4, "infection"),
    Drug("meropenem", "500", "mg", _IV, 3, "infection"),
    Drug("fluconazole", "200", "mg", ("po", "iv"), 2, "infection"),
    Drug("norepinephrine", "8", "mg", _IV, 6, "infection"),
    Drug("phenylephrine", "60", "mg", _IV, 4, "infection"),
    Drug("vasopressin", "100", "unit", _IV, 2.5, "infection"),
    Drug("albuterol 0.083% neb soln", "1", "neb", ("ih",), 9, "lung"),
    Drug("ipratropium bromide neb", "1", "neb", ("ih",), 8, "lung"),
    Drug("azithromycin", "250", "mg", ("po", "iv"), 4, "lung"),
    Drug("methylprednisolone sodium succ", "60", "mg", _IV, 4, "lung"),
    Drug("prednisone", "20", "mg", _PO, 4, "lung"),
    Drug("propofol", "1000", "mg", ("iv drip",), 6, "lung"),
    Drug("fentanyl citrate", "25", "mcg", _IV, 6, "lung"),
    Drug("midazolam hcl", "2", "mg", _IV, 5, "lung"),
    Drug("chlorhexidine gluconate", "15", "ml", ("oral",), 5, "lung"),
    Drug("sodium bicarbonate", "50", "meq", ("iv", "po"), 5, "renal"),
    Drug("calcium acetate", "667", "mg", _PO, 4, "renal"),
    Drug("sevelamer", "800", "mg", _PO, 4, "renal"),
    Drug("nephrocaps", "1", "cap", _PO, 4, "renal"),
    Drug("epoetin alfa", "10000", "unit", ("sc", "iv"), 3, "renal"),
    Drug("kayexalate", "30", "gm", ("po", "pr"), 3, "renal"),
    Drug("glipizide", "5", "mg", _PO, 3, "diabetes"),
    Drug("metformin (glucophage)", "500", "mg", _PO, 3, "diabetes"),
    Drug("dextrose 50%", "12.5", "gm", _IV, 5, "diabetes"),
    Drug("glucagon", "1", "mg", ("im",), 4, "diabetes"),
    Drug("lactulose", "30", "ml", ("po", "pr"), 8, "liver"),
    Drug("rifaximin", "550", "mg", _PO, 4, "liver"),
    Drug("thiamine hcl", "100", "mg", ("po", "iv"), 5, "liver"),
    Drug("folic acid", "1", "mg", ("po", "iv"), 5, "liver"),
    Drug("multivitamins", "1", "tab", _PO, 4, "liver"),
    Drug("octreotide acetate", "100", "mcg", _IV, 3, "liver"),
    Drug("phytonadione", "5", "mg", ("po", "sc"), 3, "bleeding"),
    Drug("ferrous sulfate", "325", "mg", _PO, 4, "blood"),
    Drug("cyanocobalamin", "1000", "mcg", ("im", "po"), 2, "blood"),
    Drug("levetiracetam", "500", "mg", ("po", "iv"), 6, "neuro"),
    Drug("phenytoin", "100", "mg", ("iv", "po"), 6, "neuro"),
    Drug("nimodipine", "60", "mg", _PO, 3, "neuro"),
    Drug("labetalol hcl", "20", "mg", ("iv", "po"), 4, "neuro"),
    Drug("haloperidol", "2", "mg", ("iv", "im"), 5, "mental"),
    Drug("citalopram hydrobromide", "20", "mg", _PO, 4, "mental"),
    Drug("sertraline hcl", "50", "mg", _PO, 4, "mental"),
    Drug("quetiapine fumarate", "25", "mg", _PO, 4, "mental"),
    Drug("trazodone hcl", "50", "mg", _PO, 3, "mental"),
    Drug("nicotine patch", "14", "mg", ("td",), 3, "mental"),
    Drug("levothyroxine sodium", "75", "mcg", ("po", "iv"), 10, "thyroid"),
    Drug("metoclopramide", "10", "mg", ("iv", "po"), 5, "gut"),
    Drug("simethicone", "80", "mg", _PO, 3, "gut"),
    Drug("allopurinol", "100", "mg", _PO, 3, "cancer"),
    Drug("dexamethasone", "4", "mg", ("iv", "po"), 5, "cancer"),
    Drug("filgrastim", "300", "mcg", ("sc",), 2, "cancer"),
    Drug("cefazolin", "1", "gm", _IV, 4, "trauma"),
    Drug("tetanus-diphtheria toxoids", "0.5", "ml", ("im",), 2, "trauma"),
)

SPECIMENS = (
    ("blood culture", 10, 0.16),
    ("urine", 8, 0.3),
    ("sputum", 5, 0.55),
    ("mrsa screen", 4, 0.12),
    ("swab", 3, 0.5),
    ("stool", 3, 0.2),
    ("bronchoalveolar lavage", 2, 0.5),
    ("catheter tip-iv", 2, 0.25),
    ("pleural fluid", 1, 0.15),
    ("peritoneal fluid", 1, 0.2),
)
"""Specimen, how often it is taken, share that grows an organism."""

ORGANISMS: dict[str, tuple[tuple[str, float], ...]] = {
    "blood culture": (
        ("staphylococcus, coagulase negative", 6),
        ("staph aureus coag +", 4),
        ("escherichia coli", 3),
        ("enterococcus sp.", 2),
        ("klebsiella pneumoniae", 2),
        ("pseudomonas aeruginosa", 1),
    ),
    "urine": (
        ("escherichia coli", 7),
        ("yeast", 5),
        ("enterococcus sp.", 4),
        ("klebsiella pneumoniae", 3),
        ("proteus mirabilis", 2),
        ("pseudomonas aeruginosa", 2),
    ),
    "sputum": (
        ("staph aureus coag +", 6),
        ("yeast", 5),
        ("pseudomonas aeruginosa", 4),
        ("klebsiella pneumoniae", 2.5),
        ("acinetobacter baumannii complex", 2),
        ("haemophilus influenzae", 1.5),
        ("stenotrophomonas maltophilia", 1),
    ),
    "mrsa screen": (("positive for methicillin resistant staph aureus", 1),),
    "stool": (("clostridium difficile", 1),),
}
OTHER_ORGANISMS = (
    ("staph aureus coag +", 4),
    ("enterococcus sp.", 3),
    ("pseudomonas aeruginosa", 2),
    ("yeast", 2),
    ("escherichia coli", 2),
    ("staphylococcus, coagulase negative", 3),
)
"""What grows in the specimens that have no list of their own."""
