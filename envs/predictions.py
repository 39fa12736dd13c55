"""Prediction tasks: a labelled table to learn from, rows to predict, and a bar that a plain model sets.

Decision: the bar is what a ridge logistic regression reaches on the same rows, less :data:`SLACK`, so that it asks for
what the data holds and no column alone passes where the model is much better. Labels of test rows stay on the host.
"""

import csv
import hashlib
import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from copilot.reward.answers import PredictionsAnswer
from copilot.reward.predictions import auroc

Array = npt.NDArray[np.float64]
"""Rows of features, weights or chances."""
SLACK = 0.02
"""How far below the reference model a hand-in may rank."""
WEAKEST = 0.58
"""Reference models below this area say that the data cannot tell; no task is made of it."""
FEWEST = 8
"""Positive and negative rows that training and test part must have."""
_RIDGE = 10.0
_STEPS = 25

PROGRAM = """\
import numpy as np
import pandas as pd
train, test = pd.read_csv('/data/train.csv'), pd.read_csv('/data/test.csv')
y = train.pop('label').to_numpy(float)
x = pd.get_dummies(pd.concat([train, test]).drop(columns='row'), dtype=float)
x = x.fillna(x.iloc[:len(y)].mean()).fillna(0)
x = ((x - x.mean()) / (x.std() + 1e-9)).to_numpy()
x = np.column_stack([np.ones(len(x)), x])
known, w = x[:len(y)], np.zeros(x.shape[1])
for _ in range(25):
    p = 1 / (1 + np.exp(-np.clip(known @ w, -30, 30)))
    curvature = known.T @ (known * (p * (1 - p))[:, None]) + 10 * np.eye(len(w))
    w += np.linalg.solve(curvature, known.T @ (y - p) - 10 * w)
p = 1 / (1 + np.exp(-np.clip(x[len(y):] @ w, -30, 30)))
answer = dict(zip(test['row'].astype(str), p.tolist()))
"""
"""The reference program of every prediction task."""


@dataclass(frozen=True)
class Problem:
    """A table cut in two; ``row`` names a row, ``label`` is 0 or 1, all other columns are features."""

    train: pd.DataFrame
    test: pd.DataFrame

    def answer(self) -> PredictionsAnswer | None:
        """The reference, or ``None`` where the data cannot tell."""
        labels = {str(row): bool(label) for row, label in zip(self.test["row"], self.test["label"], strict=True)}
        counts = [int(part["label"].sum()) for part in (self.train, self.test)]
        rest = [len(part) - count for part, count in zip((self.train, self.test), counts, strict=True)]
        if min(*counts, *rest) < FEWEST:
            return None
        area = auroc(labels, fit(self))
        return PredictionsAnswer(labels=labels, bar=round(area - SLACK, 4)) if area >= WEAKEST else None

    def write(self, folder: Path) -> dict[str, Path]:
        """The files of the task, ``train.csv`` with labels and ``test.csv`` without; written once."""
        hidden = self.test.drop(columns="label")
        return {
            name: write_csv(folder / name, part) for name, part in (("train.csv", self.train), ("test.csv", hidden))
        }


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """``frame`` as a CSV file that is there in full or not at all; an existing file is kept."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        frame.to_csv(temporary, index=False, quoting=csv.QUOTE_MINIMAL)
        os.replace(temporary, path)
    return path


def fit(problem: Problem) -> dict[str, float]:
    """Probabilities of the test rows by ridge logistic regression (Newton steps), by row name."""
    train, test = problem.train, problem.test
    features = pd.concat([train, test]).drop(columns=["row", "label"])
    design = pd.get_dummies(features, dtype=float).to_numpy()
    count = len(train)
    with np.errstate(invalid="ignore"):
        known = np.where(np.isnan(design[:count]), 0.0, design[:count])
        seen = np.maximum((~np.isnan(design[:count])).sum(axis=0), 1)
        design = np.where(np.isnan(design), known.sum(axis=0) / seen, design)
    design = (design - design.mean(axis=0)) / (design.std(axis=0, ddof=1) + 1e-9)
    design = np.hstack([np.ones((len(design), 1)), design])
    weights, labels = np.zeros(design.shape[1]), train["label"].to_numpy(float)
    for _ in range(_STEPS):
        chance = _logistic(design[:count] @ weights)
        curvature = design[:count].T @ (design[:count] * (chance * (1 - chance))[:, None])
        gradient = design[:count].T @ (labels - chance) - _RIDGE * weights
        weights = weights + np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
    chances = _logistic(design[count:] @ weights).tolist()
    return {str(row): float(p) for row, p in zip(test["row"], chances, strict=True)}


def _logistic(line: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(line, -30, 30))))


def bucket(name: Hashable, salt: str, size: int) -> int:
    """A stable number below ``size`` for a row, hospital or patient."""
    return int.from_bytes(hashlib.sha256(f"{salt}|{name}".encode()).digest()[:4], "big") % size
