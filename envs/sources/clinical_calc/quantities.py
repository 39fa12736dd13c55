"""Quantities shared by calculators and distractors, with ranges of hospital patients.

Conversion factors: SI tables of the AMA Manual of Style, 11th edition (2020), rounded as in common use.
"""

from copilot.envs.sources.clinical_calc.records import Quantity, Unit

POUNDS = Unit("lb", 2.2046, decimals=0)

WEIGHT = Quantity("weight", ("weight", "Wt"), "kg", 45, 120, units=(POUNDS,))
HEIGHT = Quantity("height", ("height", "Ht"), "cm", 150, 195, units=(Unit("m", 0.01, decimals=2),))
CREATININE = Quantity("creatinine", ("creatinine", "Cr"), "mg/dL", 0.6, 4.5, 1, units=(Unit("umol/L", 88.4),))
SODIUM = Quantity("sodium", ("sodium", "Na"), "mEq/L", 128, 148)
POTASSIUM = Quantity("potassium", ("potassium", "K"), "mEq/L", 3.0, 5.6, 1)
CHLORIDE = Quantity("chloride", ("chloride", "Cl"), "mEq/L", 92, 112)
BICARBONATE = Quantity("bicarbonate", ("bicarbonate", "HCO3"), "mEq/L", 8, 30)
GLUCOSE = Quantity("glucose", ("glucose", "Glu"), "mg/dL", 70, 350, units=(Unit("mmol/L", 1 / 18, decimals=1),))
BUN = Quantity("bun", ("BUN",), "mg/dL", 8, 70, units=(Unit("mmol/L", 0.357, decimals=1),))
ALBUMIN = Quantity("albumin", ("albumin", "Alb"), "g/dL", 1.8, 4.4, 1, units=(Unit("g/L", 10),))
CALCIUM = Quantity("calcium", ("calcium", "Ca"), "mg/dL", 7.0, 11.5, 1)
BILIRUBIN = Quantity("bilirubin", ("bilirubin", "bili"), "mg/dL", 0.4, 9.0, 1, units=(Unit("umol/L", 17.1),))
INR = Quantity("inr", ("INR",), "", 0.9, 3.2, 1)
AST = Quantity("ast", ("AST",), "U/L", 15, 240)
ALT = Quantity("alt", ("ALT",), "U/L", 12, 240)
PLATELETS = Quantity("platelets", ("platelets", "Plt"), "x10^9/L", 60, 380)
HEART_RATE = Quantity("hr", ("heart rate", "HR"), "bpm", 50, 120)
SYSTOLIC = Quantity("sbp", ("systolic BP", "SBP"), "mmHg", 80, 180)
DIASTOLIC = Quantity("dbp", ("diastolic BP", "DBP"), "mmHg", 45, 105)
RESPIRATORY_RATE = Quantity("rr", ("respiratory rate", "RR"), "/min", 12, 38)
TEMPERATURE = Quantity("temp", ("temperature", "T"), "C", 35.4, 39.8, 1, units=(Unit("F", 1.8, decimals=1, offset=32),))
SATURATION = Quantity("spo2", ("SpO2",), "%", 88, 100)
HAEMOGLOBIN = Quantity("hb", ("hemoglobin", "Hb"), "g/dL", 7.5, 16.0, 1)
WHITE_CELLS = Quantity("wbc", ("WBC",), "x10^9/L", 2.5, 19.5, 1)
QT = Quantity("qt", ("QT",), "ms", 340, 480)
PACO2 = Quantity("paco2", ("PaCO2",), "mmHg", 25, 65)
PAO2 = Quantity("pao2", ("PaO2",), "mmHg", 50, 110)
LACTATE = Quantity("lactate", ("lactate",), "mmol/L", 0.8, 6.5, 1)
MAGNESIUM = Quantity("magnesium", ("magnesium", "Mg"), "mg/dL", 1.4, 2.8, 1)

DISTRACTORS = (
    SODIUM,
    POTASSIUM,
    GLUCOSE,
    HEART_RATE,
    RESPIRATORY_RATE,
    TEMPERATURE,
    SATURATION,
    HAEMOGLOBIN,
    WHITE_CELLS,
    PLATELETS,
    LACTATE,
    MAGNESIUM,
    CREATININE,
    WEIGHT,
)
"""What notes mention besides the inputs."""
