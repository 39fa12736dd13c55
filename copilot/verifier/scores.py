"""The scores file: one JSON line per scored trajectory, appended as they come, so that a killed run goes on.

Scores of different stores never mix: a line names its store. Invariant: reading a file either gives a finite logit and
a score in (0, 1) for every line, or raises.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from copilot.data.rows import Ref, Sample
from copilot.data.store import StoreReport, read_trajectories
from copilot.errors import DataError
from copilot.verifier.base import Scorer

CHUNK = 64
"""Trajectories between two writes."""


@dataclass(frozen=True)
class Scored:
    """A line of the file."""

    ref: Ref
    """Store label, task id, attempt."""
    score: float
    """Probability of being right, in (0, 1)."""
    logit: float
    """The verifier's logit before calibration."""


def read_scores(path: str | Path) -> dict[Ref, Scored]:
    """All scores of a file; a half-written last line is not one.

    Raises:
        DataError: No such file, or a line that is no score.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such scores file", where=path, remedy="run the score stage, or med-copilot score")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), start=1):
        if line.endswith("\n"):
            scored = _decode(line, f"{path}:{number}")
            found[scored.ref] = scored
    return found


def _decode(line: str, where: str) -> Scored:
    try:
        raw = json.loads(line)
        scored = Scored((raw["store"], raw["task_id"], int(raw["attempt"])), float(raw["score"]), float(raw["logit"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"a line is no score: {error!r}", where=where, remedy="score again into a new file") from error
    if not (0.0 < scored.score < 1.0 and math.isfinite(scored.logit)):
        raise DataError(f"a line is no score: {scored.score} is not in (0, 1)", where=where, remedy="score again")
    return scored


def read_scorable(stores: Mapping[str, str | Path]) -> tuple[list[Sample], int]:
    """The trajectories of some stores that can be scored, and how many were masked.

    Raises:
        DataError: Lines that are no trajectory (without outcome, say) or of another schema version, or nothing that
            can be scored; with counts.
    """
    samples, masked = list[Sample](), 0
    for label, path in stores.items():
        report = StoreReport()
        for trajectory in read_trajectories(path, report=report):
            masked += trajectory.masked
            if not trajectory.masked:
                samples.append(Sample(label, trajectory))
        if report.bad:
            raise DataError(
                f"{report.bad} of {report.lines} lines are no trajectories with an outcome: {report.problems[0]}",
                where=path,
                remedy="mend or remove these lines; nothing is scored by default",
            )
    if not samples:
        raise DataError(f"nothing to score: {masked} trajectories, all masked", remedy="sample again")
    return sorted(samples, key=lambda sample: sample.ref), masked


async def score_missing(scorer: Scorer, samples: Sequence[Sample], path: Path) -> int:
    """Score what the file does not hold yet; the scorer must be started. Returns how many were scored."""
    done = read_scores(path) if path.is_file() else {}
    missing = [sample for sample in samples if sample.ref not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_half_line(path)
    with open(path, "a", encoding="utf-8") as file:
        for chunk in _chunks(missing):
            logits = await scorer.logits([sample.trajectory for sample in chunk])
            for sample, score, logit in zip(chunk, scorer.info.calibration.scores(logits), logits, strict=True):
                store, task, attempt = sample.ref
                record = {"store": store, "task_id": task, "attempt": attempt, "score": score, "logit": logit}
                file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return len(missing)


def _chunks(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    return (samples[at : at + CHUNK] for at in range(0, len(samples), CHUNK))


def _drop_half_line(path: Path) -> None:
    """A kill can leave half a line; what it scored is scored again."""
    if path.is_file():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)
