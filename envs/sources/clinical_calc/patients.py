"""Drawing patients, and deciding which split a patient belongs to.

Invariant: a patient of a calculator (the stated inputs, nothing else) belongs to exactly one of train, valid and
test_seen, by hash; so no seed, phrasing or distractor can carry an instance over to another split.
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from copilot.envs.sources.clinical_calc.records import Calculator, Day, Finding, Grading, Quantity, Unit
from copilot.errors import DataError

UNITS_SHARE = 0.2
"""Share of patients with one input in another unit, where a calculator has such inputs."""
_SHARES = {"train": range(0, 80), "valid": range(80, 90), "test_seen": range(90, 100)}


@dataclass(frozen=True)
class Patient:
    """One set of inputs of a calculator."""

    age: int
    female: bool
    stated: Mapping[str, str]
    """Inputs as they stand in the note: numbers in the stated unit, findings ``0``/``1``, grades' points."""
    converted: Mapping[str, Unit]
    """Inputs stated in another unit."""
    values: Mapping[str, float]
    """Inputs in base units, ``age`` and ``female`` included."""

    def key(self, calculator: Calculator) -> str:
        """What makes the instance: calculator, stated inputs and units; age and sex where the formula uses them."""
        parts = [f"{name}={text}{self._unit(name)}" for name, text in sorted(self.stated.items())]
        parts += [f"{name}={self.values[name]:g}" for name in sorted(calculator.uses)]
        return f"{calculator.name}:" + ",".join(parts)

    def expressions(self) -> dict[str, str]:
        """Inputs as Python text, unit conversions included."""
        texts = {n: self.converted[n].expression(t) if n in self.converted else t for n, t in self.stated.items()}
        return {"age": str(self.age), "female": str(int(self.female)), **texts}

    def _unit(self, name: str) -> str:
        return self.converted[name].name if name in self.converted else ""


def draw_patient(calculator: Calculator, rng: random.Random) -> Patient:
    """A patient that the calculator accepts.

    Raises:
        DataError: The ranges and ``possible`` of the calculator contradict each other.
    """
    for _ in range(1000):
        patient = _draw(calculator, rng)
        if calculator.possible(patient.values):
            return patient
    raise DataError(f"calculator {calculator.name!r} accepts no patient", remedy="widen the ranges of its inputs")


def _draw(calculator: Calculator, rng: random.Random) -> Patient:
    stated: dict[str, str] = {}
    values: dict[str, float] = {}
    for item in calculator.inputs:
        match item:
            case Quantity():
                stated[item.name] = draw_quantity(item, rng)
                values[item.name] = float(stated[item.name])
            case Finding():
                stated[item.name] = str(int(rng.random() < item.rate))
                values[item.name] = float(stated[item.name])
            case Grading():
                points = rng.choice(item.grades)[0]
                stated[item.name], values[item.name] = f"{points:g}", points
            case Day():
                day = rng.randint(date.fromisoformat(item.first).toordinal(), date.fromisoformat(item.last).toordinal())
                stated[item.name], values[item.name] = date.fromordinal(day).isoformat(), float(day)
    converted = _convert_one(calculator, stated, values, rng)
    age, female = rng.randint(*calculator.ages), rng.random() < 0.5
    values |= {"age": float(age), "female": float(female)}
    return Patient(age=age, female=female, stated=stated, converted=converted, values=values)


def draw_quantity(quantity: Quantity, rng: random.Random) -> str:
    """A value of the range at the quantity's resolution, as text."""
    scale = 10**quantity.decimals
    drawn = rng.randint(round(quantity.low * scale), round(quantity.high * scale))
    return f"{drawn / scale:.{quantity.decimals}f}"


def _convert_one(
    calculator: Calculator, stated: dict[str, str], values: dict[str, float], rng: random.Random
) -> dict[str, Unit]:
    """State one input in another unit for a share of the patients; its value is then the stated number, converted."""
    choices = [(item.name, unit) for item in calculator.inputs if isinstance(item, Quantity) for unit in item.units]
    if not choices or rng.random() >= UNITS_SHARE:
        return {}
    name, unit = rng.choice(choices)
    stated[name] = unit.stated(values[name])
    values[name] = unit.to_base(stated[name])
    return {name: unit}


def split_of(key: str) -> str:
    """The split an instance of a trained calculator belongs to."""
    bucket = int.from_bytes(hashlib.sha256(f"clinical_calc|{key}".encode()).digest()[:4], "big") % 100
    return next(split for split, share in _SHARES.items() if bucket in share)
