"""The source: a seeded stream of clinical calculations, round-robin over the calculators."""

import hashlib
import random
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ExecuteCode, Submit
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Source
from copilot.envs.sources.clinical_calc.catalogue import ALL_HELD_OUT, ALL_TRAINED, HELD_OUT, TRAINED
from copilot.envs.sources.clinical_calc.patients import Patient, draw_patient, split_of
from copilot.envs.sources.clinical_calc.records import Calculator
from copilot.envs.sources.clinical_calc.vignettes import draw_phrasing, write_question
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import DateAnswer, IntegerAnswer, IntervalAnswer, RealAnswer

SIZES = {
    "train": 4000,
    "valid": 400,
    "test_seen": 400,
    "test_unseen": 300,
    "train_all": 6000,
    "valid_all": 600,
    "test_seen_all": 600,
    "test_unseen_all": 500,
}
"""Default number of tasks per split; the ``_all`` splits ask the calculators of both editions."""
_PATIENCE = 400
"""Draws after which a calculator counts as used up (those of one input have about a hundred instances)."""


class ClinicalCalc(Source):
    """Published bedside calculators over short notes; generated, nothing to download."""

    name: ClassVar[str] = "clinical_calc"
    title: ClassVar[str] = "Clinical calculations over short notes (generated)"
    licence: ClassVar[str] = "Apache-2.0"
    splits: ClassVar[tuple[str, ...]] = tuple(SIZES)

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """The stream of a split: every round asks each calculator once, in shuffled order; no instance
        twice, and calculators that are used up drop out."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in clinical_calc", remedy=did_you_mean(split, self.splits))
        return islice(self._stream(split, seed), SIZES[split] if limit is None else limit)

    def files(self, task: Task) -> dict[str, Path]:
        """No files: the note is in the question."""
        return {}

    def worked_example(self) -> WorkedExample:
        """The rate-pressure product, which is no calculator of the catalogue."""
        shown = feedback.of_cell(CellResult(status="ok"), answer=(90 * 140,)).text
        return WorkedExample(
            question=(
                "64-year-old man with heart rate 90 bpm, SpO2 97%, systolic BP 140 mmHg. "
                "What is the rate-pressure product in mmHg*bpm? Formula: HR * SBP."
            ),
            steps=((ExecuteCode(code="answer = 90 * 140"), shown), (Submit(variable="answer"), "")),
        )

    def _stream(self, split: str, seed: int) -> Iterator[Task]:
        rng = random.Random(f"clinical_calc/{split}/{seed}")
        unseen, every = split.startswith("test_unseen"), split.endswith("_all")
        calculators = list((ALL_HELD_OUT if unseen else ALL_TRAINED) if every else HELD_OUT if unseen else TRAINED)
        seen: set[str] = set()
        while calculators:
            rng.shuffle(calculators)
            for calculator in tuple(calculators):
                patient = _fresh_patient(calculator, split, seen, rng)
                if patient is None:
                    calculators.remove(calculator)
                else:
                    yield make_task(calculator, patient, split, rng)


def _fresh_patient(calculator: Calculator, split: str, seen: set[str], rng: random.Random) -> Patient | None:
    """A patient of the split that was not drawn before; ``None`` when the calculator seems to have no more."""
    for _ in range(_PATIENCE):
        patient = draw_patient(calculator, rng)
        key = patient.key(calculator)
        if key not in seen and (calculator.held_out or split_of(key) == split.removesuffix("_all")):
            seen.add(key)
            return patient
    return None


def make_task(calculator: Calculator, patient: Patient, split: str, rng: random.Random) -> Task:
    """The task of a patient: note, question, limits and reference program."""
    phrasing = draw_phrasing(calculator, rng)
    question = write_question(calculator, patient, phrasing, rng)
    key = patient.key(calculator)
    digest = hashlib.sha256(f"{key}|{question}".encode()).hexdigest()[:12]
    return Task(
        id=f"clinical_calc/{split}/{calculator.name}-{digest}",
        source="clinical_calc",
        split=split,
        question=question,
        template=phrasing.template(calculator),
        category=f"{calculator.system}, units" if patient.converted else calculator.system,
        reference=Reference(answer=reference_answer(calculator, patient), program=program(calculator, patient)),
        metadata={"calculator": calculator.name, "instance": key, "formula_stated": phrasing.stated},
    )


def reference_answer(
    calculator: Calculator, patient: Patient
) -> IntegerAnswer | RealAnswer | DateAnswer | IntervalAnswer:
    """The right answer with its limits."""
    value = calculator.formula(patient.values)
    if calculator.gives == "day":
        return DateAnswer(value=date.fromordinal(round(value)).isoformat())
    if calculator.gives == "span":
        return IntervalAnswer(days=round(value))
    if calculator.whole:
        return IntegerAnswer(value=round(value))
    margin = max(abs(value) * calculator.tolerance, 1e-9)
    return RealAnswer(value=value, lower=value - margin, upper=value + margin, unit=calculator.unit or None)


def program(calculator: Calculator, patient: Patient) -> str:
    """Python that leaves the answer in ``answer``, with the patient's numbers in place."""
    return calculator.program.format(**{**patient.expressions(), **calculator.parts(patient.values)})


SOURCE = ClinicalCalc()
