"""Splits' hygiene: which training questions are also asked, or nearly asked, in a held-out suite.

Decision: an equal question (case and punctuation aside) is leakage and is taken out of the training rows. An overlap of
ten words in a row is only reported: tasks made from templates share them by design, and dropping them would empty
every training set; the report says how much there is.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from copilot.data.rows import Ref, Sample
from copilot.data.trajectory import Trajectory
from copilot.envs.task import Task


@dataclass
class Overlap:
    """What training trajectories and held-out tasks have in common."""

    same_task: set[Ref] = field(default_factory=set)
    """Trajectories of a held-out task itself."""
    same_question: set[Ref] = field(default_factory=set)
    """Trajectories of another task with the same question."""
    shared_ngram: set[Ref] = field(default_factory=set)
    """Further trajectories that share ten words in a row with a held-out question."""
    held_out: int = 0
    """Held-out tasks."""
    held_out_same: set[str] = field(default_factory=set)
    """Held-out tasks that are asked in training, word for word."""
    held_out_shared: set[str] = field(default_factory=set)
    """Further held-out tasks that share ten words in a row with training."""

    def reasons(self) -> dict[Ref, str]:
        """What is to be left out of the training rows, with the reason."""
        return {ref: "held-out question" for ref in self.same_question} | {
            ref: "held-out task" for ref in self.same_task
        }

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON, with the held-out tasks found in training by id."""
        counts = {name: len(value) if isinstance(value, set) else value for name, value in vars(self).items()}
        return {**counts, "held_out_same_ids": sorted(self.held_out_same)}


def find_overlap(samples: Iterable[Sample], held_out: Iterable[Task], *, n: int = 10) -> Overlap:
    """Compare the questions of trajectories with those of held-out tasks.

    Args:
        samples: Training trajectories.
        held_out: Tasks that are to stay unseen.
        n: Words in a row that count as an overlap. What all tasks of a source share (their ``context``) is no overlap.
    """
    tasks = list(held_out)
    shared = {gram for context in {task.context for task in tasks} for gram in ngrams(context, n)}
    questions = {task.id: words(task.question) for task in tasks}
    grams = {id: set(_ngrams(text, n)) - shared for id, text in questions.items()}
    known, known_grams = set(questions.values()), set().union(*grams.values())
    overlap, seen, seen_grams = Overlap(held_out=len(tasks)), set(), set()
    for sample in samples:
        asked = words(question_of(sample.trajectory))
        asked_grams = _ngrams(asked, n) & known_grams
        if sample.trajectory.task_id in questions:
            overlap.same_task.add(sample.ref)
        elif asked in known:
            overlap.same_question.add(sample.ref)
        elif asked_grams:
            overlap.shared_ngram.add(sample.ref)
        seen.add(asked)
        seen_grams |= asked_grams
    _count_held_out(overlap, questions, grams, seen, seen_grams)
    return overlap


def task_overlap(train: Iterable[Task], held_out: Iterable[Task], *, n: int = 10) -> dict[str, int]:
    """What training and held-out tasks have in common: equal questions, and ``n`` words in a row beside them."""
    tasks = list(held_out)
    shared = {gram for context in {task.context for task in tasks} for gram in ngrams(context, n)}
    asked, grams, count = set(), set[tuple[str, ...]](), 0
    for task in train:
        count += 1
        text = words(task.question)
        asked.add(text)
        grams |= _ngrams(text, n)
    same = [task for task in tasks if words(task.question) in asked]
    near = [task for task in tasks if words(task.question) not in asked and (ngrams(task.question, n) - shared) & grams]
    return {"train": count, "held_out": len(tasks), "same_question": len(same), "shared_ngram": len(near)}


def words(text: str) -> tuple[str, ...]:
    """The words of a text, lower case, without punctuation."""
    return tuple(re.findall(r"\w+", text.lower()))


def ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    """All runs of ``n`` words of a text; none when it has fewer."""
    return _ngrams(words(text), n)


def question_of(trajectory: Trajectory) -> str:
    """The question a trajectory was asked: recorded, or the last message of its prompt."""
    return trajectory.question or str(trajectory.prompt[-1].get("content", ""))


def _ngrams(text: tuple[str, ...], n: int) -> set[tuple[str, ...]]:
    return {text[i : i + n] for i in range(len(text) - n + 1)}


def _count_held_out(
    overlap: Overlap,
    questions: Mapping[str, tuple[str, ...]],
    grams: Mapping[str, set[tuple[str, ...]]],
    seen: set[tuple[str, ...]],
    seen_grams: set[tuple[str, ...]],
) -> None:
    for id, question in questions.items():
        if question in seen:
            overlap.held_out_same.add(id)
        elif grams[id] & seen_grams:
            overlap.held_out_shared.add(id)
