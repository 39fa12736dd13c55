"""What is asked about the pipeline's steps: cleaning, hourly means, carrying forward, the first day, the cohort.

Truth is computed on the host from prepared measurements; the reference program starts from the mounted files.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from copilot.envs.sources.mimic_extract.pipeline import VARIABLES, cohort

HEADER = """\
import pandas as pd
stays = pd.read_csv('/data/stays.csv', parse_dates=['intime', 'outtime'])
events = pd.read_csv('/data/events.csv', parse_dates=['charttime'])
e = events.merge(pd.read_csv('/data/items.csv'), on='itemid').merge(stays[['stay', 'intime']], on='stay')
e['minute'] = (e['charttime'] - e['intime']).dt.total_seconds() / 60
e['hour'] = e['minute'] // 60
"""
"""Start of the reference programs that look at measurements."""

_ONE = "e = e[(e['variable'] == '{variable}') & (e['stay'] == {stay})]\n"
_VALID = _ONE + "e = e[e['value'].between(e['low'], e['high'])]\n"
_RULE = "Values outside the range that items.csv gives are dropped first. "

Slots = dict[str, str | int | float]


@dataclass(frozen=True)
class Question:
    """One kind of question."""

    name: str
    asks: tuple[str, ...]
    program: str
    truth: Callable[[pd.DataFrame, pd.DataFrame, Slots], float | None]
    """From the measurements of one stay and variable, and all stays; ``None``: nothing to ask."""
    whole: bool = False
    held_out: bool = False


def _valid(m: pd.DataFrame) -> pd.DataFrame:
    return m[m["valid"]]


def _hourly(m: pd.DataFrame, _: pd.DataFrame, v: Slots) -> float | None:
    values = _valid(m).loc[lambda x: x["hour"] == v["hour"], "value"]
    return float(values.sum() / len(values)) if len(values) else None


def _carried(m: pd.DataFrame, _: pd.DataFrame, v: Slots) -> float | None:
    before = _valid(m).loc[lambda x: x["hour"] <= v["hour"]]
    if before.empty or before["hour"].max() == v["hour"]:
        return None
    return float(before.loc[before["hour"] == before["hour"].max(), "value"].mean())


def _extreme(m: pd.DataFrame, _: pd.DataFrame, v: Slots) -> float | None:
    values = _valid(m)["value"]
    if len(values) < 2:
        return None
    return float({"largest": values.max(), "smallest": values.min(), "median": values.median()}[str(v["which"])])


def _range_of_hours(m: pd.DataFrame, _: pd.DataFrame, v: Slots) -> float | None:
    hourly = _valid(m).groupby("hour")["value"].mean()
    return float(hourly.max() - hourly.min()) if len(hourly) > 3 and hourly.max() > hourly.min() else None


def _first(m: pd.DataFrame, _: pd.DataFrame, v: Slots) -> float | None:
    return float(_valid(m)["minute"].min()) if _valid(m)["minute"].min() > 0 else None


def _slope(m: pd.DataFrame, _: pd.DataFrame, v: Slots) -> float | None:
    hourly = _valid(m).groupby("hour")["value"].mean()
    x = pd.Series(hourly.index, index=hourly.index, dtype=float)
    if len(hourly) < 5 or hourly.var() == 0:
        return None
    return float(((x - x.mean()) * (hourly - hourly.mean())).sum() / ((x - x.mean()) ** 2).sum())


def _cohort_size(_: pd.DataFrame, stays: pd.DataFrame, v: Slots) -> float | None:
    return float(len(cohort(stays, int(v["age"]), float(v["shortest"]), float(v["longest"]))))


def _cohort_share(_: pd.DataFrame, stays: pd.DataFrame, v: Slots) -> float | None:
    chosen = cohort(stays, int(v["age"]), float(v["shortest"]), float(v["longest"]))
    return float(chosen["hours"].mean()) if len(chosen) > 10 else None


_COHORT = (
    "import pandas as pd\nstays = pd.read_csv('/data/stays.csv', parse_dates=['intime'])\n"
    "first = stays.sort_values('intime').groupby('subject_id').head(1)\n"
    "c = first[(first['age'] >= {age}) & (first['hours'] >= {shortest}) & (first['hours'] <= {longest})]\n"
)
_COHORT_WORDS = "first stays of patients of at least {age} years that last {shortest} to {longest} hours"

QUESTIONS = (
    Question(
        "hourly",
        (
            _RULE + "What is the mean {variable} of stay {stay} in hour {hour} (hours since admission, from 0)?",
            _RULE + "Average {variable} of stay {stay} by hour since admission (from 0): what is hour {hour}?",
        ),
        HEADER + _VALID + "answer = e[e['hour'] == {hour}]['value'].mean()",
        _hourly,
    ),
    Question(
        "carried",
        (
            _RULE + "Carry hourly means of {variable} forward. Which value has stay {stay} in hour {hour} (from 0)?",
            _RULE + "After forward filling hourly means, what is {variable} of stay {stay} in hour {hour}?",
        ),
        HEADER + _VALID + "answer = e.groupby('hour')['value'].mean().reindex(range(24)).ffill()[{hour}]",
        _carried,
    ),
    Question(
        "extreme",
        (
            _RULE + "What is the {which} {variable} of stay {stay} in the first 24 hours?",
            _RULE + "For stay {stay}, find the {which} value of {variable} during the first day.",
        ),
        HEADER
        + _VALID
        + "v = e['value']\nanswer = {{'largest': v.max(), 'smallest': v.min(), 'median': v.median()}}['{which}']",
        _extreme,
    ),
    Question(
        "range_of_hours",
        (
            _RULE + "By how much does the largest hourly mean of {variable} exceed the smallest in stay {stay}?",
            _RULE + "What is the spread (largest minus smallest) of the hourly means of {variable} in stay {stay}?",
        ),
        HEADER + _VALID + "h = e.groupby('hour')['value'].mean()\nanswer = h.max() - h.min()",
        _range_of_hours,
    ),
    Question(
        "first_minutes",
        (
            _RULE + "How many minutes after admission was {variable} of stay {stay} first measured?",
            _RULE + "Minutes from admission to the first {variable} of stay {stay}: how many?",
        ),
        HEADER + _VALID + "answer = e['minute'].min()",
        _first,
    ),
    Question(
        "hourly_slope",
        (
            _RULE + "Fit a line to the hourly means of {variable} of stay {stay}. What is its slope per hour?",
            _RULE + "What is the least-squares slope (per hour) of the hourly means of {variable} in stay {stay}?",
        ),
        HEADER + _VALID + "from scipy.stats import linregress\nh = e.groupby('hour')['value'].mean()\n"
        "answer = linregress(h.index, h).slope",
        _slope,
        held_out=True,
    ),
    Question(
        "cohort_size",
        (f"How many {_COHORT_WORDS} are there?", f"Count the {_COHORT_WORDS}."),
        _COHORT + "answer = len(c)",
        _cohort_size,
        whole=True,
    ),
    Question(
        "cohort_hours",
        (f"What is the mean length, in hours, of the {_COHORT_WORDS}?", f"Average the hours of the {_COHORT_WORDS}."),
        _COHORT + "answer = c['hours'].mean()",
        _cohort_share,
    ),
)
"""All kinds of questions."""


def draw(question: Question, stays: list[int], rng: random.Random) -> Slots:
    """Slots of a question about one of ``stays``."""
    return {
        "variable": rng.choice(list(VARIABLES)),
        "stay": rng.choice(stays),
        "hour": rng.randrange(24),
        "which": rng.choice(("largest", "smallest", "median")),
        "age": rng.randint(15, 80),
        "shortest": rng.randint(4, 48),
        "longest": rng.randint(72, 480),
    }
