"""Power functions of the designs, and the smallest sample that reaches a power.

Power of t, F and chi-squared tests is exact (noncentral distributions); the others use the published normal
approximation that the question names.
"""

from math import asin, log, sqrt

from scipy import stats

from copilot.envs.sources.npowerai.records import Design, Values

_normal = stats.norm


def _z(v: Values) -> float:
    return float(_normal.ppf(1 - v["alpha"] / 2))


def _t_power(shift: float, df: float, alpha: float) -> float:
    cut = stats.t.ppf(1 - alpha / 2, df)
    return float(stats.nct.sf(cut, df, shift))  # the far tail is below 0.001 wherever power is asked for


def two_means(n: float, v: Values) -> float:
    """Two-sample t-test."""
    return _t_power(v["delta"] / v["sd"] * sqrt(n / 2), 2 * n - 2, v["alpha"])


def paired_means(n: float, v: Values) -> float:
    """Paired t-test."""
    return _t_power(v["delta"] / v["sd"] * sqrt(n), n - 1, v["alpha"])


def anova(n: float, v: Values) -> float:
    """One-way analysis of variance."""
    groups = v["groups"]
    df = (groups - 1, groups * (n - 1))
    cut = stats.f.ppf(1 - v["alpha"], *df)
    return float(stats.ncf.sf(cut, *df, groups * n * v["f"] ** 2))


def regression(n: float, v: Values) -> float:
    """Overall F-test of a linear regression."""
    df = (v["predictors"], n - v["predictors"] - 1)
    cut = stats.f.ppf(1 - v["alpha"], *df)
    return float(stats.ncf.sf(cut, *df, n * v["r2"] / (1 - v["r2"])))


def two_proportions(n: float, v: Values) -> float:
    """Two-sample z-test of proportions."""
    p, q = v["p1"], v["p2"]
    mean = (p + q) / 2
    shift = abs(p - q) * sqrt(n) - _z(v) * sqrt(2 * mean * (1 - mean))
    return float(_normal.cdf(shift / sqrt(p * (1 - p) + q * (1 - q))))


def arcsine(n: float, v: Values) -> float:
    """Two proportions by Cohen's h."""
    h = abs(2 * asin(sqrt(v["p1"])) - 2 * asin(sqrt(v["p2"])))
    return float(_normal.cdf(h * sqrt(n / 2) - _z(v)))


def one_proportion(n: float, v: Values) -> float:
    """One-sample z-test of a proportion."""
    p, q = v["p0"], v["p1"]
    shift = abs(q - p) * sqrt(n) - _z(v) * sqrt(p * (1 - p))
    return float(_normal.cdf(shift / sqrt(q * (1 - q))))


def mcnemar(n: float, v: Values) -> float:
    """McNemar's test."""
    total, gap = v["p10"] + v["p01"], abs(v["p10"] - v["p01"])
    return float(_normal.cdf((gap * sqrt(n) - _z(v) * sqrt(total)) / sqrt(total - gap**2)))


def chi_square(n: float, v: Values) -> float:
    """Chi-squared test."""
    cut = stats.chi2.ppf(1 - v["alpha"], v["df"])
    return float(stats.ncx2.sf(cut, v["df"], n * v["w"] ** 2))


def correlation(n: float, v: Values) -> float:
    """Correlation by Fisher's z."""
    fisher = 0.5 * log((1 + v["r"]) / (1 - v["r"]))
    return float(_normal.cdf(fisher * sqrt(n - 3) - _z(v)))


def log_rank(n: float, v: Values) -> float:
    """Log-rank test."""
    return float(_normal.cdf(sqrt(2 * n * v["event"] / 4) * abs(log(v["hr"])) - _z(v)))


def cox(n: float, v: Values) -> float:
    """Wald test of a Cox model."""
    information = n * v["event"] * v["sd"] ** 2 * (1 - v["r2"])
    return float(_normal.cdf(sqrt(information) * abs(log(v["hr"])) - _z(v)))


def wilcoxon(n: float, v: Values) -> float:
    """Wilcoxon-Mann-Whitney test."""
    return float(_normal.cdf(sqrt(6 * n) * (v["better"] - 0.5) - _z(v)))


def rates(n: float, v: Values) -> float:
    """Two Poisson rates."""
    spread = sqrt((v["rate1"] + v["rate2"]) / v["years"])
    return float(_normal.cdf(abs(v["rate1"] - v["rate2"]) * sqrt(n) / spread - _z(v)))


def cluster(n: float, v: Values) -> float:
    """Cluster-randomised comparison of means."""
    effect = 1 + (v["size"] - 1) * v["icc"]
    return float(_normal.cdf(v["delta"] / v["sd"] * sqrt(n * v["size"] / (2 * effect)) - _z(v)))


def noninferior(n: float, v: Values) -> float:
    """Non-inferiority of a mean."""
    one_sided = float(_normal.ppf(1 - v["alpha"]))
    return float(_normal.cdf(v["margin"] / v["sd"] * sqrt(n / 2) - one_sided))


def sample_size(design: Design, v: Values, target: float, *, largest: int = 5000) -> int | None:
    """The smallest ``n`` with at least the target power; ``None`` when it is above ``largest``."""
    low, high = design.smallest, design.smallest
    while design.power(high, v) < target:
        low, high = high + 1, 2 * high
        if low > largest:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if design.power(middle, v) >= target else (middle + 1, high)
    return low if low <= largest else None
