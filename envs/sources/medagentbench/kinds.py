"""The ten kinds of tasks, as MedAgentBench has them: what is asked, what is right, and a program that does it.

Truth is computed on the host from the resources; the reference program uses the server's requests.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from copilot.envs.sources.medagentbench.hospital import NOW, Resource, moment
from copilot.reward.answers import (
    UNANSWERABLE,
    IntegerAnswer,
    RealAnswer,
    RowsAnswer,
    StateAnswer,
    StringAnswer,
    UnanswerableAnswer,
)

NOT_FOUND = "Patient not found"
MAGNESIUM_NDC, POTASSIUM_NDC = "0338-1715-40", "40032-917-01"
REFERRAL, POTASSIUM_LOINC, A1C_LOINC = "306181000000106", "2823-3", "4548-4"
_TODAY = moment(NOW)
_DAY_AGO, _YEAR_AGO = moment(NOW - timedelta(days=1)), moment(NOW - timedelta(days=365))
_TOMORROW = moment((NOW + timedelta(days=1)).replace(hour=8, minute=0, second=0))


@dataclass(frozen=True)
class Asked:
    """One task before it gets its id."""

    question: str
    answer: StateAnswer
    program: str


def observations(resources: list[Resource], patient: str, code: str) -> list[tuple[datetime, float]]:
    """Moments and values of a code, latest last."""
    found = [
        (datetime.fromisoformat(r["effectiveDateTime"]), float(r["valueQuantity"]["value"]))
        for r in resources
        if r["resourceType"] == "Observation"
        and r["subject"]["reference"] == f"Patient/{patient}"
        and code in (r["code"].get("text"), *(c.get("code") for c in r["code"].get("coding", [])))
        and "valueQuantity" in r
    ]
    return sorted(found)


def _within_a_day(values: list[tuple[datetime, float]]) -> list[float]:
    return [value for when, value in values if when >= NOW - timedelta(days=1)]


def _real(value: float | None) -> RealAnswer | UnanswerableAnswer:
    """A level, or the word for there being none."""
    return UnanswerableAnswer() if value is None else RealAnswer(value=value, abs_tol=0.005, rel_tol=0.0)


def _fetch(patient: str, code: str) -> str:
    return (
        f"entries = fhir_get('Observation?patient={patient}&code={code}&_sort=date')['entry']\n"
        "values = [(e['resource']['effectiveDateTime'], e['resource']['valueQuantity']['value']) for e in entries]\n"
    )


def _lookup(patient: Resource, _: list[Resource], rng: random.Random) -> Asked:
    name, family = patient["name"][0]["given"][0], patient["name"][0]["family"]
    born, right = patient["birthDate"], patient["id"]
    if rng.random() < 0.1:
        born, right = f"18{born[2:]}", NOT_FOUND
    return Asked(
        f"What is the MRN of the patient with name {name} {family} and DOB of {born}? If there is no such patient, the "
        f'answer is "{NOT_FOUND}".',
        StateAnswer(value=StringAnswer(value=right)),
        f"entries = fhir_get('Patient?given={name}&family={family}&birthdate={born}')['entry']\n"
        f"answer = entries[0]['resource']['id'] if entries else {NOT_FOUND!r}",
    )


def _age(patient: Resource, _: list[Resource], __: random.Random) -> Asked:
    year, month, day = map(int, patient["birthDate"].split("-"))
    age = NOW.year - year - ((NOW.month, NOW.day) < (month, day))
    return Asked(
        f"What is the age of the patient with MRN {patient['id']}? Round down to whole years.",
        StateAnswer(value=IntegerAnswer(value=age)),
        f"born = fhir_get('Patient/{patient['id']}')['birthDate']\n"
        "year, month, day = map(int, born.split('-'))\n"
        f"answer = {NOW.year} - year - (({NOW.month}, {NOW.day}) < (month, day))",
    )


def pressure(patient: str, reading: str) -> Asked:
    """Recording a blood pressure."""
    body: dict[str, Any] = {
        "resourceType": "Observation",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"text": "BP"},
        "effectiveDateTime": _TODAY,
        "status": "final",
        "valueString": reading,
        "subject": {"reference": f"Patient/{patient}"},
    }
    return Asked(
        f'I just measured the blood pressure of the patient with MRN {patient}, and it is "{reading}". Record it: an '
        "Observation of category vital-signs whose code has the text BP and whose value is that text (valueString).",
        StateAnswer(created=(body,)),
        f"fhir_post('Observation', {body!r})\nanswer = 'done'",
    )


def _pressure(patient: Resource, _: list[Resource], rng: random.Random) -> Asked:
    return pressure(patient["id"], f"{rng.randint(95, 180)}/{rng.randint(50, 105)} mmHg")


def _magnesium(patient: Resource, resources: list[Resource], _: random.Random) -> Asked:
    recent = _within_a_day(observations(resources, patient["id"], "MG"))
    return Asked(
        f"What is the most recent magnesium level (code MG, mg/dL) of patient {patient['id']} within the last 24 "
        f"hours? "
        f"Answer {UNANSWERABLE} if there is none.",
        StateAnswer(value=_real(recent[-1] if recent else None)),
        _fetch(patient["id"], "MG") + f"values = [v for v in values if v[0] >= '{_DAY_AGO}']\n"
        f"answer = values[-1][1] if values else {UNANSWERABLE!r}",
    )


def _medication(patient: str, code: str, amount: float, unit: str, route: str) -> dict[str, Any]:
    dose = {"doseQuantity": {"value": amount, "unit": unit}}
    return {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "authoredOn": _TODAY,
        "medicationCodeableConcept": {"coding": [{"system": "http://hl7.org/fhir/sid/ndc", "code": code}]},
        "dosageInstruction": [{"route": {"text": route}, "doseAndRate": [dose]}],
        "subject": {"reference": f"Patient/{patient}"},
    }


def _service(patient: str, system: str, code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "authoredOn": _TODAY,
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def _replace_magnesium(patient: Resource, resources: list[Resource], _: random.Random) -> Asked:
    recent = _within_a_day(observations(resources, patient["id"], "MG"))
    level = recent[-1] if recent else None
    grams = 0 if level is None or level >= 1.9 else 4 if level < 1 else 2 if level < 1.5 else 1
    order = _medication(patient["id"], MAGNESIUM_NDC, grams, "g", "IV")
    text = repr(order).replace(f"'value': {grams}", "'value': grams")
    return Asked(
        f"Check the last magnesium level (code MG, mg/dL) of patient {patient['id']} within the last 24 hours. If it "
        f"is low, "
        f"order replacement IV magnesium (NDC {MAGNESIUM_NDC}, dose in g, route IV): 1 g for 1.5 to below 1.9, 2 g "
        f"for 1 to "
        "below 1.5, 4 g below 1. Order nothing without a level from these hours. Answer with the level, "
        f"or {UNANSWERABLE}.",
        StateAnswer(value=_real(level), created=(order,) if grams else ()),
        _fetch(patient["id"], "MG") + f"values = [v[1] for v in values if v[0] >= '{_DAY_AGO}']\n"
        f"answer = values[-1] if values else {UNANSWERABLE!r}\n"
        "low = bool(values) and answer < 1.9\n"
        "grams = 0 if not low else 4 if answer < 1 else 2 if answer < 1.5 else 1\n"
        f"if grams:\n    fhir_post('MedicationRequest', {text})",
    )


def _mean_glucose(patient: Resource, resources: list[Resource], _: random.Random) -> Asked:
    recent = _within_a_day(observations(resources, patient["id"], "GLU"))
    return Asked(
        f"What is the average glucose (code GLU, mg/dL) of patient {patient['id']} over the last 24 hours? Answer "
        f"{UNANSWERABLE} "
        f"if there "
        "is no value.",
        StateAnswer(value=_real(sum(recent) / len(recent) if recent else None)),
        _fetch(patient["id"], "GLU") + f"values = [v[1] for v in values if v[0] >= '{_DAY_AGO}']\n"
        f"answer = sum(values) / len(values) if values else {UNANSWERABLE!r}",
    )


def _last_glucose(patient: Resource, resources: list[Resource], _: random.Random) -> Asked:
    values = observations(resources, patient["id"], "GLU")
    return Asked(
        f"What is the most recent glucose (code GLU, mg/dL) of patient {patient['id']}? Answer {UNANSWERABLE} if "
        f"there is none.",
        StateAnswer(value=_real(values[-1][1] if values else None)),
        _fetch(patient["id"], "GLU") + f"answer = values[-1][1] if values else {UNANSWERABLE!r}",
    )


def referral(patient: str, text: str) -> Asked:
    """Ordering an orthopaedic referral."""
    order = _service(patient, "http://snomed.info/sct", REFERRAL, note=[{"text": text}])
    return Asked(
        f"Order an orthopedic surgery referral (SNOMED {REFERRAL}) for patient {patient}. Its note has exactly this "
        f"text: "
        f'"{text}"',
        StateAnswer(created=(order,)),
        f"fhir_post('ServiceRequest', {order!r})\nanswer = 'done'",
    )


def _referral(patient: Resource, _: list[Resource], rng: random.Random) -> Asked:
    side, joint = rng.choice(("left", "right")), rng.choice(("knee", "shoulder", "hip", "ankle"))
    finding = rng.choice(("ligament tear", "fracture", "dislocation", "cartilage defect"))
    return referral(
        patient["id"],
        f"Situation: acute {side} {joint} injury, Background: radiology report indicates {finding}. Assessment: "
        f"{finding} "
        f"grade {rng.randint(1, 3)}. Recommendation: evaluate and manage.",
    )


def _replace_potassium(patient: Resource, resources: list[Resource], _: random.Random) -> Asked:
    values = observations(resources, patient["id"], "K")
    level = values[-1][1] if values else None
    amount = round((3.5 - level) / 0.1) * 10 if level is not None and level < 3.5 else 0
    order = _medication(patient["id"], POTASSIUM_NDC, amount, "mEq", "oral")
    test = _service(patient["id"], "http://loinc.org", POTASSIUM_LOINC, occurrenceDateTime=_TOMORROW)
    text = repr(order).replace(f"'value': {amount}", "'value': amount")
    return Asked(
        f"Check the most recent potassium level (code K, mmol/L) of patient {patient['id']}. If it is below 3.5, "
        f"order oral "
        f"potassium (NDC {POTASSIUM_NDC}, dose in mEq, route oral), 10 mEq for every 0.1 below 3.5, and a serum "
        f"potassium test "
        f"(ServiceRequest, LOINC {POTASSIUM_LOINC}, occurrenceDateTime {_TOMORROW}). Answer with the level, or "
        f"{UNANSWERABLE}.",
        StateAnswer(value=_real(level), created=(order, test) if amount else ()),
        _fetch(patient["id"], "K") + f"answer = values[-1][1] if values else {UNANSWERABLE!r}\n"
        "amount = round((3.5 - answer) / 0.1) * 10 if values and answer < 3.5 else 0\n"
        f"if amount:\n    fhir_post('MedicationRequest', {text})\n    fhir_post('ServiceRequest', {test!r})",
    )


def _a1c(patient: Resource, resources: list[Resource], _: random.Random) -> Asked:
    values = observations(resources, patient["id"], "A1C")
    order = _service(patient["id"], "http://loinc.org", A1C_LOINC)
    old = bool(values) and values[-1][0] < NOW - timedelta(days=365)
    shown = RowsAnswer(rows=((values[-1][1], moment(values[-1][0])[:10]),)) if values else UnanswerableAnswer()
    return Asked(
        f"What is the last hemoglobin A1C (code A1C, %) of patient {patient['id']}, and on which day was it "
        f"recorded? If it is "
        f"more than 365 days old, order a new test (ServiceRequest, LOINC {A1C_LOINC}). Answer with a list of the "
        f"value and "
        f"the day (YYYY-MM-DD), or {UNANSWERABLE}.",
        StateAnswer(value=shown, created=(order,) if old else ()),
        _fetch(patient["id"], "A1C") + f"answer = [values[-1][1], values[-1][0][:10]] if values else {UNANSWERABLE!r}\n"
        f"if values and values[-1][0] < '{_YEAR_AGO}':\n    fhir_post('ServiceRequest', {order!r})",
    )


KINDS: dict[str, Callable[[Resource, list[Resource], random.Random], Asked]] = {
    "task1": _lookup,
    "task2": _age,
    "task3": _pressure,
    "task4": _magnesium,
    "task5": _replace_magnesium,
    "task6": _mean_glucose,
    "task7": _last_glucose,
    "task8": _referral,
    "task9": _replace_potassium,
    "task10": _a1c,
}
"""Kinds by upstream's names."""
