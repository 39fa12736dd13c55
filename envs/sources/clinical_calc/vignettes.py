"""Writing a patient as a short note with a question: three note styles, three ways to ask, one or two distractors.

Decision: notes are compact (about 90 tokens with the question), since the smallest models read them on a CPU.
"""

import random
from dataclasses import dataclass

from copilot.envs.sources.clinical_calc.patients import Patient, draw_quantity
from copilot.envs.sources.clinical_calc.quantities import DISTRACTORS
from copilot.envs.sources.clinical_calc.records import Calculator, Day, Finding, Grading, Input, Quantity

STYLES = ("prose", "terse", "question_first")
STATED_SHARE = 0.4
"""Share of questions on trained calculators that state the formula, so that using one is a skill to be learned."""
DENIED_SHARE = 0.35
"""Share of absent findings that the note denies; the others go unmentioned."""

_PRESSURE = {"sbp", "dbp"}


@dataclass(frozen=True)
class Phrasing:
    """How a question is put; together with the calculator it is the template."""

    style: str
    ask: int
    stated: bool
    """Whether the formula is given."""

    def template(self, calculator: Calculator) -> str:
        """``cockcroft_gault/terse-1`` or ``.../terse-1-formula``."""
        return f"{calculator.name}/{self.style}-{self.ask}" + ("-formula" if self.stated else "")


def draw_phrasing(calculator: Calculator, rng: random.Random) -> Phrasing:
    """A style, a way to ask, and whether the formula is stated (always, for held-out calculators)."""
    stated = rng.random() < STATED_SHARE
    return Phrasing(rng.choice(STYLES), rng.randrange(len(calculator.asks)), stated or calculator.held_out)


def write_question(calculator: Calculator, patient: Patient, phrasing: Phrasing, rng: random.Random) -> str:
    """The note with its question."""
    facts = _facts(calculator, patient, phrasing, rng) + _distractors(calculator, phrasing, rng)
    rng.shuffle(facts)
    who = _who(patient, short=phrasing.style == "terse")
    ask = calculator.asks[phrasing.ask] + (f" in {calculator.unit}" if calculator.unit else "")
    formula = f" Formula: {calculator.statement}." if phrasing.stated else ""
    if phrasing.style == "prose":
        return f"{who} with {', '.join(facts)}. What is the {ask}?{formula}"
    if phrasing.style == "terse":
        return f"{who}; {'; '.join(facts)}. Compute the {ask}.{formula}"
    return f"Find the {ask}.{formula} Patient: {who}, {', '.join(facts)}."


def _who(patient: Patient, *, short: bool) -> str:
    if short:
        return f"{patient.age}{'F' if patient.female else 'M'}"
    noun = ("girl" if patient.female else "boy") if patient.age < 18 else ("woman" if patient.female else "man")
    return f"{patient.age}-year-old {noun}"


def _facts(calculator: Calculator, patient: Patient, phrasing: Phrasing, rng: random.Random) -> list[str]:
    joint = patient.stated.keys() >= _PRESSURE and phrasing.style != "prose"
    items = [item for item in calculator.inputs if not (joint and item.name in _PRESSURE)]
    facts = [fact for item in items if (fact := _fact(item, patient, phrasing, rng))]
    return facts + ([f"BP {patient.stated['sbp']}/{patient.stated['dbp']} mmHg"] if joint else [])


def _fact(item: Input, patient: Patient, phrasing: Phrasing, rng: random.Random) -> str:
    text = patient.stated[item.name]
    match item:
        case Quantity():
            unit = patient.converted[item.name].name if item.name in patient.converted else item.unit
            return _measured(item, text, unit, phrasing)
        case Finding():
            if text == "1":
                return rng.choice(item.present)
            return item.absent if rng.random() < DENIED_SHARE else ""
        case Grading():
            return next(phrase for points, phrase in item.grades if f"{points:g}" == text)
        case Day():
            return f"{item.label} {text}"


def _measured(quantity: Quantity, text: str, unit: str, phrasing: Phrasing) -> str:
    label = quantity.labels[-1 if phrasing.style == "terse" else 0]
    return f"{label} {text}" + (unit if unit == "%" else f" {unit}" if unit else "")


def _distractors(calculator: Calculator, phrasing: Phrasing, rng: random.Random) -> list[str]:
    """One or two measurements that the formula does not need; one beside many inputs."""
    kept_out = {item.name for item in calculator.inputs}.union(calculator.avoid)
    pool = [quantity for quantity in DISTRACTORS if quantity.name not in kept_out]
    count = 1 if len(calculator.inputs) > 3 else rng.randint(1, 2)
    return [_measured(q, draw_quantity(q, rng), q.unit, phrasing) for q in rng.sample(pool, count)]
