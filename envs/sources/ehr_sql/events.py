"""What is charted in a stay: codes, wards, laboratory, drugs, cultures, bedside values, fluids, costs."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from copilot.envs.sources.ehr_sql import items
from copilot.envs.sources.ehr_sql.codes import PROCEDURES, Code
from copilot.envs.sources.ehr_sql.hospital import Hospital, Patient, Stay, text

_WARDS = {"micu": (50, 52), "sicu": (33, 57), "ccu": (7,), "csru": (14, 15), "tsicu": (23,)}
_UNITS_OF_GROUP = {
    "coronary": ("csru", "ccu"),
    "heart": ("ccu", "csru"),
    "trauma": ("tsicu",),
    "neuro": ("sicu",),
    "gut": ("sicu",),
}
_VITAL_SHIFTS = {
    "infection": {"heart rate": 1.0, "temperature c (calc)": 1.3, "arterial bp [systolic]": -1.0,
                  "arterial bp mean": -1.0, "respiratory rate": 0.8},
    "lung": {"respiratory rate": 1.3, "spo2": -1.5, "heart rate": 0.5},
    "heart": {"heart rate": 0.6, "cvp": 1.2, "spo2": -0.6},
    "bleeding": {"heart rate": 1.1, "arterial bp [systolic]": -0.9, "arterial bp mean": -0.8},
    "neuro": {"gcs total": -1.8, "arterial bp [systolic]": 0.8},
}  # fmt: skip


def draw(hospital: Hospital, patient: Patient, stay: Stay, codes: Sequence[Code], *, discharged: bool) -> None:
    """Everything that happens in a stay, into the hospital's rows."""
    _codes(hospital, patient, stay, codes)
    icu = _wards(hospital, patient, stay, discharged=discharged)
    _labs(hospital, patient, stay)
    _drugs(hospital, patient, stay, discharged=discharged)
    _cultures(hospital, patient, stay)
    if icu is not None:
        _bedside(hospital, patient, stay, *icu)


def _codes(hospital: Hospital, patient: Patient, stay: Stay, codes: Sequence[Code]) -> None:
    rng = hospital.rng
    for code in codes:
        at = text(stay.start + timedelta(minutes=rng.randint(0, 120)))
        row = hospital.add("diagnoses_icd", patient.subject_id, stay.hadm_id, code.code.lower(), at)
        hospital.charge(patient, stay, "diagnoses_icd", code.code, row, stay.start)
    for code in hospital.codes(PROCEDURES, stay.groups, rng.choice((0, 1, 1, 2, 3, 4))):
        at_time = _within(hospital, stay)
        row = hospital.add("procedures_icd", patient.subject_id, stay.hadm_id, code.code.lower(), text(at_time))
        hospital.charge(patient, stay, "procedures_icd", code.code, row, at_time)


def _within(hospital: Hospital, stay: Stay) -> datetime:
    """Some minute of the charted part of the stay."""
    minutes = min(int((stay.end - stay.start).total_seconds() // 60), stay.days * 1440)
    return stay.start + timedelta(minutes=hospital.rng.randint(1, minutes))


def _wards(
    hospital: Hospital, patient: Patient, stay: Stay, *, discharged: bool
) -> tuple[int, datetime, datetime] | None:
    """Transfers and, for three stays of four, an intensive-care stay: its id, start and end."""
    rng = hospital.rng
    ids = (patient.subject_id, stay.hadm_id)
    if rng.random() < 0.25:
        hospital.add("transfers", *ids, None, "admit", None, 45, text(stay.start), text(stay.end))
        return None
    units = _UNITS_OF_GROUP.get(stay.groups[0], ("micu", "micu", "sicu"))
    unit, icustay_id = rng.choice(units), 200000 + len(hospital.rows["icustays"]) * 37 + rng.randint(0, 36)
    ward = rng.choice(_WARDS[unit])
    entered = stay.start + timedelta(minutes=rng.randint(1, 200))
    left = min(stay.end, entered + timedelta(minutes=int(1440 * min(14.0, rng.lognormvariate(0.8, 0.7)) + 60)))
    still_in = not discharged and rng.random() < 0.6
    ended = None if still_in else text(left)
    hospital.add("icustays", *ids, icustay_id, unit, unit, ward, ward, text(entered), ended)
    hospital.add("transfers", *ids, icustay_id, "admit", unit, ward, text(entered), ended)
    if not still_in and left < stay.end:
        hospital.add("transfers", *ids, None, "transfer", None, 45, text(left), text(stay.end) if discharged else None)
    if discharged:
        hospital.add("transfers", *ids, None, "discharge", None, None, text(stay.end), None)
    return icustay_id, entered, left


def _labs(hospital: Hospital, patient: Patient, stay: Stay) -> None:
    rng = hospital.rng
    asked = {items.PANEL_FOR_GROUP[group] for group in stay.groups if group in items.PANEL_FOR_GROUP}
    for day in range(stay.days):
        for panel, chance in items.PANEL_CHANCE.items():
            if rng.random() >= (max(chance, 0.45) if panel in asked else chance):
                continue
            at = stay.start + timedelta(days=day, minutes=rng.randint(5, 600))
            if at >= stay.end:
                continue
            for lab in items.LABS:
                if lab.panel != panel or rng.random() < 0.06:
                    continue
                off = patient.baseline[lab.itemid] + stay.shift(items.LAB_SHIFTS, lab.label, day) + rng.gauss(0, 0.45)
                value = round(min(lab.high, max(lab.low, lab.mean + lab.spread * off)), lab.decimals)
                row = hospital.add(
                    "labevents", patient.subject_id, stay.hadm_id, lab.itemid, text(at), value, lab.unit or None
                )
                hospital.charge(patient, stay, "labevents", lab.label, row, at)


def _drugs(hospital: Hospital, patient: Patient, stay: Stay, *, discharged: bool) -> None:
    rng = hospital.rng
    weights = [
        drug.weight * (1.0 if drug.group == "common" else 3.0 if drug.group in stay.groups else 0.15)
        for drug in items.DRUGS
    ]
    for drug in dict.fromkeys(rng.choices(items.DRUGS, weights, k=rng.randint(6, 22))):
        start = _within(hospital, stay).replace(hour=0, minute=0, second=0)
        end = start + timedelta(days=rng.randint(1, 6))
        over = text(min(end, stay.end.replace(hour=0, minute=0, second=0))) if discharged or end < stay.end else None
        row = hospital.add(
            "prescriptions", patient.subject_id, stay.hadm_id, text(start), over, drug.drug, drug.dose, drug.unit,
            rng.choice((drug.routes[0], *drug.routes)),
        )  # fmt: skip
        hospital.charge(patient, stay, "prescriptions", drug.drug, row, start)


def _cultures(hospital: Hospital, patient: Patient, stay: Stay) -> None:
    rng = hospital.rng
    infected = "infection" in stay.groups
    for _ in range(rng.choice((0, 1, 2, 3, 4, 5) if infected else (0, 0, 1, 2))):
        specimen, _, positive = rng.choices(items.SPECIMENS, [weight for _, weight, _ in items.SPECIMENS])[0]
        grown = None
        if rng.random() < positive * (1.5 if infected else 0.8):
            grown = hospital.pick(items.ORGANISMS.get(specimen, items.OTHER_ORGANISMS))
        at = text(_within(hospital, stay))
        hospital.add("microbiologyevents", patient.subject_id, stay.hadm_id, at, specimen, grown)


def _bedside(
    hospital: Hospital, patient: Patient, stay: Stay, icustay_id: int, entered: datetime, left: datetime
) -> None:
    """Vital signs every four to six hours and fluids, for at most four days of intensive care."""
    rng = hospital.rng
    ids = (patient.subject_id, stay.hadm_id, icustay_id)
    weight = round(min(items.WEIGHT.high, max(items.WEIGHT.low, rng.gauss(items.WEIGHT.mean, items.WEIGHT.spread))), 1)
    hospital.add("chartevents", *ids, items.WEIGHT.itemid, text(entered), weight, items.WEIGHT.unit)
    offsets = {vital.itemid: rng.gauss(0, 0.6) for vital in items.VITALS}
    inputs = rng.sample(items.INPUTS, rng.randint(2, 5))
    outputs = rng.sample(items.OUTPUTS, rng.randint(1, 3))
    charted = [vital for vital in items.VITALS if vital.label != "cvp" or "heart" in stay.groups]
    end, at = min(left, entered + timedelta(days=4)), entered + timedelta(minutes=rng.randint(5, 60))
    while at < end:
        day = (at - stay.start).total_seconds() / 86400
        for vital in charted:
            off = offsets[vital.itemid] + stay.shift(_VITAL_SHIFTS, vital.label, day) + rng.gauss(0, 0.6)
            value = round(min(vital.high, max(vital.low, vital.mean + vital.spread * off)), vital.decimals)
            hospital.add("chartevents", *ids, vital.itemid, text(at), value, vital.unit)
        for table, fluids in (("inputevents_cv", inputs), ("outputevents", outputs)):
            itemid, _, low, high = rng.choice(fluids)
            amount = float(round(rng.triangular(low, high, low)))
            hospital.add(table, *ids, text(at), itemid, amount)
        at += timedelta(minutes=rng.randint(220, 380))
