"""What the MedAgentGym paper published (arXiv 2506.04405, Tables 3, 4 and 10): facts, for a column beside our own.

Success rates in percent on the leaderboard's test tasks (EHRSHOT: accuracy), under the paper's any-attempt rule and its
graders, which accept some wrong answers; they are not comparable with figures under strict graders.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files

SFT_SHARES = ((0.25, 21.1), (0.5, 34.1), (0.75, 43.7), (1.0, 53.9))
"""Share of the SFT data, and the success rate it gave Qwen2.5-7B-Instruct (labels of the paper's figure)."""


@dataclass(frozen=True)
class Published:
    """A row of the paper's tables."""

    model: str
    """As named there; variants trained from a base carry ``+``."""
    rates: dict[str, float]
    """Success in percent by data set."""
    average: float
    """Mean over the data sets, as printed."""


def published() -> list[Published]:
    """All rows, in the paper's order."""
    text = (files("copilot.evaluation") / "published.csv").read_text(encoding="utf-8")
    return [
        Published(
            row["model"],
            {name: float(value) for name, value in row.items() if name not in ("model", "average")},
            float(row["average"]),
        )
        for row in csv.DictReader(text.splitlines())
    ]
