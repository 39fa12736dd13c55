"""What is asked about a table: descriptions, comparisons, associations and survival.

Decision: truth (:attr:`Analysis.compute`, on the host) and the reference program (text) are written separately, with
different means where there are some, so that a test can hold one against the other.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

Values = Mapping[str, float | int | str]
"""Columns and numbers that fill a question."""


@dataclass(frozen=True)
class Analysis:
    """One kind of question about a table."""

    name: str
    family: str
    """The category in tables."""
    needs: frozenset[str]
    """Slots to fill: ``x`` and ``y`` (numbers), ``g`` (groups), ``cut`` (a threshold of ``x``), ``t`` (a time)."""
    asks: tuple[str, str, str]
    """Three ways to ask; ``{x}`` is a column's words and ``{x_column}`` its name."""
    compute: Callable[[pd.DataFrame, Values], float]
    """Truth."""
    program: str
    """Python after ``df`` is read; leaves the result in ``answer``."""
    whole: bool = False
    """Whether the answer is a count."""
    rel_tol: float = 1e-3
    """Accepted relative difference."""
    held_out: bool = False
    """Whether it is asked in ``test_unseen`` only."""


def _x(df: pd.DataFrame, v: Values) -> "pd.Series[float]":
    return df[str(v["x_column"])].dropna()


def _in_group(df: pd.DataFrame, v: Values) -> "pd.Series[bool]":
    return df[str(v["g_column"])] == v["g_value"]


def _pair(df: pd.DataFrame, v: Values) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    both = df[[str(v["x_column"]), str(v["y_column"])]].dropna()
    return both.iloc[:, 0], both.iloc[:, 1]


def _two(df: pd.DataFrame, v: Values) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    inside = _in_group(df, v)
    column = str(v["x_column"])
    return df[inside][column].dropna(), df[~inside][column].dropna()


def _welch(df: pd.DataFrame, v: Values) -> float:
    a, b = _two(df, v)
    return float((a.mean() - b.mean()) / math.sqrt(a.var() / len(a) + b.var() / len(b)))


def _rank_statistic(df: pd.DataFrame, v: Values) -> float:
    a, b = _two(df, v)
    ranks = stats.rankdata(np.concatenate([a, b]))
    return float(ranks[: len(a)].sum() - len(a) * (len(a) + 1) / 2)


def _counts(df: pd.DataFrame, v: Values) -> tuple[float, float, float, float]:
    known = df[df[str(v["x_column"])].notna()]
    above, inside = known[str(v["x_column"])] > float(v["cut"]), _in_group(known, v)
    return tuple(np.float64((i & a).sum()) for i in (inside, ~inside) for a in (above, ~above))  # type: ignore[return-value]


def _odds_ratio(df: pd.DataFrame, v: Values) -> float:
    a, b, c, d = _counts(df, v)
    return a * d / (b * c)


def _risk_ratio(df: pd.DataFrame, v: Values) -> float:
    a, b, c, d = _counts(df, v)
    return a / (a + b) / (c / (c + d))


def _chi_squared(df: pd.DataFrame, v: Values) -> float:
    a, b, c, d = _counts(df, v)
    return (a + b + c + d) * (a * d - b * c) ** 2 / ((a + b) * (c + d) * (a + c) * (b + d))


def _slope(df: pd.DataFrame, v: Values) -> float:
    x, y = _pair(df, v)
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def kaplan_meier(times: "pd.Series[float]", events: "pd.Series[float]", at: float) -> float:
    """The product-limit estimate (Kaplan and Meier, J Am Stat Assoc 53:457-481) at a time."""
    when, happened = times.to_numpy(), events.to_numpy() == 1
    estimate = 1.0
    for time in np.unique(when[happened & (when <= at)]):
        estimate *= 1 - ((when == time) & happened).sum() / (when >= time).sum()
    return float(estimate)


def _survival(df: pd.DataFrame, v: Values) -> float:
    return kaplan_meier(df[str(v["time"])], df[str(v["event"])], float(v["t"]))


def _group_survival(df: pd.DataFrame, v: Values) -> float:
    return _survival(df[_in_group(df, v)], v)


def log_rank(times: "pd.Series[float]", events: "pd.Series[float]", inside: "pd.Series[bool]") -> float:
    """Chi-squared statistic of the log-rank test (Mantel, Cancer Chemother Rep 50:163-170)."""
    when, happened, ours = times.to_numpy(), events.to_numpy() == 1, inside.to_numpy()
    gap = variance = np.float64(0)
    for time in np.unique(when[happened]):
        risk, dead = when >= time, (when == time) & happened
        n, n1, d = risk.sum(), (risk & ours).sum(), dead.sum()
        gap += (dead & ours).sum() - d * n1 / n
        variance += d * n1 / n * (1 - n1 / n) * (n - d) / (n - 1) if n > 1 else 0.0
    return float(gap**2 / variance)


def _log_rank(df: pd.DataFrame, v: Values) -> float:
    return log_rank(df[str(v["time"])], df[str(v["event"])], _in_group(df, v))


def _event_rate(df: pd.DataFrame, v: Values) -> float:
    group = df[_in_group(df, v)]
    return float(1000 * group[str(v["event"])].sum() / group[str(v["time"])].sum())


_TWO = (
    "inside = df['{g_column}'] == {g_value!r}\n"
    "a, b = df[inside]['{x_column}'].dropna(), df[~inside]['{x_column}'].dropna()\n"
)
_CROSS = (
    "known = df[df['{x_column}'].notna()]\n"
    "table = pd.crosstab(known['{g_column}'] == {g_value!r}, known['{x_column}'] > {cut}).to_numpy()\n"
)
_CURVE = (
    "alive = 1.0\nfor t, rows in d[d['{time}'] <= {t}].groupby('{time}'):\n"
    "    alive *= 1 - rows['{event}'].sum() / (d['{time}'] >= t).sum()\nanswer = alive"
)


def _needs(*slots: str) -> frozenset[str]:
    return frozenset(slots)


ANALYSES = (
    Analysis(
        "mean", "description", _needs("x", "g"),
        (
            "What is the mean {x} ({x_column}) of {g}?",
            "Compute the average of {x_column} among {g}.",
            "Among {g}, what is the arithmetic mean of {x}?",
        ),
        lambda df, v: float(_two(df, v)[0].mean()),
        "answer = df.loc[df['{g_column}'] == {g_value!r}, '{x_column}'].mean()",
        rel_tol=5e-4,
    ),
    Analysis(
        "sd", "description", _needs("x", "g"),
        (
            "What is the sample standard deviation of {x} ({x_column}) in {g}?",
            "How much does {x} vary among {g}? Give the standard deviation (n - 1).",
            "Compute the standard deviation (n - 1) of {x_column} for {g}.",
        ),
        lambda df, v: float(np.std(_two(df, v)[0], ddof=1)),
        "answer = df.loc[df['{g_column}'] == {g_value!r}, '{x_column}'].std()",
    ),
    Analysis(
        "count_above", "description", _needs("x", "g", "cut"),
        (
            "How many of the {g} have a {x} ({x_column}) above {cut}?",
            "Count the {g} whose {x_column} exceeds {cut}.",
            "Among {g}, how many rows have {x} greater than {cut}?",
        ),
        lambda df, v: float((_two(df, v)[0] > float(v["cut"])).sum()),
        "answer = int(((df['{g_column}'] == {g_value!r}) & (df['{x_column}'] > {cut})).sum())",
        whole=True,
    ),
    Analysis(
        "share_above", "description", _needs("x", "cut"),
        (
            "What share of the rows with a known value has {x} ({x_column}) above {cut}? Answer between 0 and 1.",
            "What fraction of known {x_column} values exceeds {cut}?",
            "Which proportion (0 to 1) of the known values of {x} is greater than {cut}?",
        ),
        lambda df, v: float((_x(df, v) > float(v["cut"])).mean()),
        "x = df['{x_column}'].dropna()\nanswer = (x > {cut}).mean()",
        rel_tol=5e-4,
    ),
    Analysis(
        "difference", "comparison", _needs("x", "g"),
        (
            "By how much does the mean {x} ({x_column}) of {g} exceed that of the other rows?",
            "Mean of {x_column} in {g} minus its mean in all others: what is it?",
            "Compute the difference in mean {x}, {g} minus the rest.",
        ),
        lambda df, v: float(_two(df, v)[0].mean() - _two(df, v)[1].mean()),
        _TWO + "answer = a.mean() - b.mean()",
    ),
    Analysis(
        "welch", "comparison", _needs("x", "g"),
        (
            "Compare {x} ({x_column}) of {g} with the other rows by Welch's t-test. What is the t statistic?",
            "What is Welch's t for {x_column}, {g} against the rest?",
            "Give the t statistic of the unequal-variance t-test of {x} between {g} (first) and all others.",
        ),
        _welch,
        "from scipy.stats import ttest_ind\n" + _TWO + "answer = ttest_ind(a, b, equal_var=False).statistic",
    ),
    Analysis(
        "rank_sum", "comparison", _needs("x", "g"),
        (
            "What is the Mann-Whitney U statistic of {x} ({x_column}) for {g} against the other rows?",
            "Compute U of the Mann-Whitney test for {x_column}, {g} being the first sample.",
            "Rank {x} of {g} against the rest: what is Mann-Whitney's U of {g}?",
        ),
        _rank_statistic,
        "from scipy.stats import mannwhitneyu\n" + _TWO + "answer = mannwhitneyu(a, b).statistic",
        rel_tol=1e-6,
        held_out=True,
    ),
    Analysis(
        "odds_ratio", "comparison", _needs("x", "g", "cut"),
        (
            "What is the odds ratio of {x} ({x_column}) above {cut} for {g} against the other rows?",
            "Call {x_column} above {cut} the outcome. What is its odds ratio, {g} against all others?",
            "Compute the sample odds ratio for {x} greater than {cut} in {g} compared with the rest.",
        ),
        _odds_ratio,
        _CROSS + "answer = table[1, 1] * table[0, 0] / (table[1, 0] * table[0, 1])",
    ),
    Analysis(
        "risk_ratio", "comparison", _needs("x", "g", "cut"),
        (
            "What is the risk ratio of {x} ({x_column}) above {cut}, {g} against the other rows?",
            "How many times as likely is {x_column} above {cut} in {g} as in the rest?",
            "Compute the relative risk of {x} greater than {cut} for {g} against all others.",
        ),
        _risk_ratio,
        _CROSS + "answer = table[1, 1] / table[1].sum() / (table[0, 1] / table[0].sum())",
        held_out=True,
    ),
    Analysis(
        "chi_squared", "comparison", _needs("x", "g", "cut"),
        (
            "Cross-tabulate {x} ({x_column}) above {cut} or not with being among {g} or not. What is Pearson's "
            "chi-squared statistic without continuity correction?",
            "What is the uncorrected chi-squared statistic for {x_column} above {cut} against {g}?",
            "Test whether {x} greater than {cut} depends on being among {g}: give Pearson's chi-squared, uncorrected.",
        ),
        _chi_squared,
        "from scipy.stats import chi2_contingency\n" + _CROSS
        + "answer = chi2_contingency(table, correction=False).statistic",
    ),
    Analysis(
        "pearson", "association", _needs("x", "y", "g"),
        (
            "What is Pearson's correlation of {x} ({x_column}) and {y} ({y_column}) among {g}?",
            "Among {g}, compute Pearson's r between {x_column} and {y_column}.",
            "How strongly are {x} and {y} linearly correlated in {g} (Pearson)?",
        ),
        lambda df, v: float(np.corrcoef(*_pair(df[_in_group(df, v)], v))[0, 1]),
        "d = df[df['{g_column}'] == {g_value!r}]\nanswer = d['{x_column}'].corr(d['{y_column}'])",
    ),
    Analysis(
        "spearman", "association", _needs("x", "y", "g"),
        (
            "What is Spearman's rank correlation of {x} ({x_column}) and {y} ({y_column}) in {g}?",
            "Compute Spearman's rho between {x_column} and {y_column} among {g}.",
            "Among {g}, how strongly do the ranks of {x} and {y} correlate (Spearman)?",
        ),
        lambda df, v: float(np.corrcoef(*(stats.rankdata(s) for s in _pair(df[_in_group(df, v)], v)))[0, 1]),
        "d = df[df['{g_column}'] == {g_value!r}]\nanswer = d['{x_column}'].corr(d['{y_column}'], method='spearman')",
        held_out=True,
    ),
    Analysis(
        "slope", "association", _needs("x", "y", "g"),
        (
            "Regress {y} ({y_column}) on {x} ({x_column}) by least squares among {g}. What is the slope?",
            "What is the least-squares slope of {y_column} on {x_column} in {g}?",
            "Among {g}, by how much does {y} change per unit of {x} in simple linear regression?",
        ),
        lambda df, v: _slope(df[_in_group(df, v)], v),
        "from scipy.stats import linregress\nd = df[df['{g_column}'] == {g_value!r}].dropna(subset=['{x_column}', "
        "'{y_column}'])\n"
        "answer = linregress(d['{x_column}'], d['{y_column}']).slope",
    ),
    Analysis(
        "survival", "survival", _needs("t"),
        (
            "What is the Kaplan-Meier estimate of survival at {t} {unit}? Time is {time}, event {event} (1: happened).",
            "Estimate the event-free share at {t} {unit} by Kaplan and Meier ({time}, {event}).",
            "By the product-limit method on {time} and {event}, which share has had no event by {t} {unit}?",
        ),
        _survival,
        "d = df\n" + _CURVE,
        rel_tol=5e-4,
    ),
    Analysis(
        "group_survival", "survival", _needs("t", "g"),
        (
            "What is the Kaplan-Meier estimate at {t} {unit} for {g}? Time is {time}, event {event} (1: happened).",
            "Among {g}, estimate the event-free share at {t} {unit} by Kaplan and Meier ({time}, {event}).",
            "Which share of {g} has had no event by {t} {unit}, by the product-limit method on {time} and {event}?",
        ),
        _group_survival,
        "d = df[df['{g_column}'] == {g_value!r}]\n" + _CURVE,
        rel_tol=5e-4,
    ),
    Analysis(
        "log_rank", "survival", _needs("s", "g"),
        (
            "Compare {g} with the other rows by the log-rank test ({time}, {event}). What is the chi-squared "
            "statistic?",
            "What is the log-rank chi-squared for {g} against the rest, with time {time} and event {event}?",
            "Give the chi-squared statistic of the log-rank test of {time} / {event} between {g} and all others.",
        ),
        _log_rank,
        "time, event = df['{time}'].to_numpy(), df['{event}'].to_numpy() == 1\n"
        "inside = (df['{g_column}'] == {g_value!r}).to_numpy()\ngap = variance = 0.0\n"
        "for t in sorted(set(time[event])):\n    risk, dead = time >= t, (time == t) & event\n"
        "    n, n1, d = risk.sum(), (risk & inside).sum(), dead.sum()\n"
        "    gap += (dead & inside).sum() - d * n1 / n\n"
        "    if n > 1:\n        variance += d * (n1 / n) * (1 - n1 / n) * (n - d) / (n - 1)\n"
        "answer = gap ** 2 / variance",
    ),
    Analysis(
        "event_rate", "survival", _needs("s", "g"),
        (
            "How many events ({event}) per 1000 {unit} of follow-up ({time}) do {g} have?",
            "What is the event rate of {g} per 1000 {unit}, from {event} and {time}?",
            "Compute events per 1000 person-{unit} among {g} ({event}, {time}).",
        ),
        _event_rate,
        "d = df[df['{g_column}'] == {g_value!r}]\nanswer = 1000 * d['{event}'].sum() / d['{time}'].sum()",
    ),
)  # fmt: skip
"""All kinds of questions."""
