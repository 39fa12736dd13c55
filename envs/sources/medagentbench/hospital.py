"""Generated patients of the look-alike: demographics, laboratory values, glucose readings, conditions, orders.

A function of a seed; names and numbers are drawn independently, so that nobody real is described.
"""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

NOW = datetime(2023, 11, 13, 10, 15, tzinfo=UTC)
"""The fixed present of all tasks."""
PATIENTS = 400
"""Size of the hospital."""

CODES = {"MG": "mg/dL", "GLU": "mg/dL", "K": "mmol/L", "A1C": "%"}
"""Laboratory codes with their units."""
_GIVEN = {
    "female": (
        "Ada", "Berta", "Clara", "Dora", "Edith", "Flora", "Greta", "Hilda", "Irma",
        "Julia", "Karin", "Lena", "Marta", "Nora", "Olga", "Paula", "Rosa", "Sara",
    ),
    "male": (
        "Adam", "Boris", "Carl", "David", "Emil", "Felix", "Georg", "Hugo", "Ivan",
        "Jonas", "Kurt", "Leo", "Max", "Nils", "Otto", "Paul", "Rolf", "Simon",
    ),
}  # fmt: skip
_FAMILY = (
    "Acker", "Bauer", "Claus", "Dorn", "Ebner", "Falk", "Gruber", "Haas", "Imhof",
    "Jung", "Keller", "Lang", "Moser", "Nolte", "Ott", "Pohl", "Ritter", "Sommer",
)  # fmt: skip
_CONDITIONS = {"I10": "Hypertension", "E11.9": "Type 2 diabetes", "N18.3": "Kidney disease", "J45.909": "Asthma"}
_DRUGS = {"0093-1048-01": "Metformin 500 mg", "0378-1805-01": "Lisinopril 10 mg", "0071-0155-23": "Atorvastatin 10 mg"}

Resource = dict[str, Any]


def moment(when: datetime) -> str:
    """A moment as the server writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def resources(seed: int = 0) -> list[Resource]:
    """All resources of the hospital, patients first."""
    rng = random.Random(f"medagentbench/{seed}")
    patients = [_patient(number, rng) for number in rng.sample(range(1_000_000, 9_999_999), PATIENTS)]
    return [*patients, *(resource for patient in patients for resource in _record(patient["id"], rng))]


def _patient(number: int, rng: random.Random) -> Resource:
    gender = rng.choice(("female", "male"))
    born = date(1933, 1, 1) + timedelta(days=rng.randrange(26_000))
    return {
        "resourceType": "Patient",
        "id": f"S{number}",
        "identifier": [{"system": "urn:mrn", "value": f"S{number}"}],
        "name": [{"given": [rng.choice(_GIVEN[gender])], "family": rng.choice(_FAMILY)}],
        "gender": gender,
        "birthDate": born.isoformat(),
    }


def _record(patient: str, rng: random.Random) -> list[Resource]:
    found = [_value(code, rng.uniform(low, high), when, digits) for code, low, high, when, digits in _labs(rng)]
    for code, name in rng.sample(sorted(_CONDITIONS.items()), rng.randint(0, 2)):
        concept = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}], "text": name}
        found.append({"resourceType": "Condition", "code": concept})
    for code, name in rng.sample(sorted(_DRUGS.items()), rng.randint(0, 2)):
        concept = {"coding": [{"system": "http://hl7.org/fhir/sid/ndc", "code": code}], "text": name}
        order = {"status": "active", "intent": "order", "authoredOn": moment(_ago(rng, 400))}
        found.append({"resourceType": "MedicationRequest", "medicationCodeableConcept": concept, **order})
    rng.shuffle(found)
    subject = {"reference": f"Patient/{patient}"}
    return [{**item, "id": f"{patient}-{number}", "subject": subject} for number, item in enumerate(found)]


def _labs(rng: random.Random) -> list[tuple[str, float, float, datetime, int]]:
    """Code, range, moment and decimals of each value."""
    drawn = [("GLU", 62.0, 320.0, _ago(rng, 1), 0) for _ in range(rng.choice((0, 1, 3, 4, 6)))]
    drawn += [("GLU", 62.0, 320.0, _ago(rng, 40), 0) for _ in range(rng.randint(0, 4))]
    drawn += [("MG", 0.7, 2.4, _ago(rng, 1), 2) for _ in range(rng.choice((0, 1, 1, 2)))]
    drawn += [("MG", 0.7, 2.4, _ago(rng, 30), 2) for _ in range(rng.randint(0, 2))]
    drawn += [("K", 2.6, 5.4, _ago(rng, 20), 1) for _ in range(rng.randint(1, 4))]
    drawn += [("A1C", 4.8, 12.5, _ago(rng, 900), 1) for _ in range(rng.choice((0, 1, 2, 3)))]
    return drawn


def _ago(rng: random.Random, days: int) -> datetime:
    return NOW - timedelta(minutes=rng.randint(20, days * 24 * 60 - 20))


def _value(code: str, value: float, when: datetime, digits: int) -> Resource:
    number = round(value, digits) if digits else round(value)
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": {"coding": [{"code": code}], "text": code},
        "effectiveDateTime": moment(when),
        "valueQuantity": {"value": number, "unit": CODES[code]},
    }
