"""The designs: means, proportions, association, survival and counts."""

from math import ceil

from copilot.envs.sources.npowerai import powers
from copilot.envs.sources.npowerai.records import Citation, Design

_ALPHA = (0.01, 0.05)
_IMPORT = "from math import asin, log, sqrt\nfrom scipy.stats import chi2, f, ncf, nct, ncx2, norm, t\n"
_T_TAIL = "    cut = t.ppf(1 - {alpha} / 2, df)\n    return nct.sf(cut, df, shift)"
_NORMAL = "norm.ppf(1 - {alpha} / 2)"


def _grid(**values: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    return {**values, "alpha": _ALPHA}


def _steps(first: float, last: float, step: float) -> tuple[float, ...]:
    digits = len(f"{step:g}".partition(".")[2])
    return tuple(round(first + i * step, digits) for i in range(ceil((last - first) / step - 1e-9) + 1))


DESIGNS = (
    Design(
        name="two_means",
        family="means",
        citation=Citation("Guenther WC", "Am Stat 35:243-244", 1981),
        grid=_grid(delta=_steps(3, 12, 0.5), sd=_steps(10, 24, 1)),
        stories=(
            "A randomised trial compares systolic blood pressure between two arms; a difference of {delta} mmHg is "
            "expected, with a common standard deviation of {sd} mmHg.",
            "Two rehabilitation programmes are compared by the 6-minute walk score. The means should differ by {delta} "
            "points; both groups have a standard deviation of {sd} points.",
            "Investigators plan to compare quality-of-life scores of two equally large groups, standard deviation "
            "{sd}, "
            "and want to detect a difference of {delta} points.",
        ),
        method="Use the two-sided two-sample t-test with equal groups (noncentral t distribution, far tail ignored).",
        count="patients per group",
        power=powers.two_means,
        program="    df, shift = 2 * n - 2, {delta} / {sd} * sqrt(n / 2)\n" + _T_TAIL,
    ),
    Design(
        name="paired_means",
        family="means",
        citation=Citation("Guenther WC", "Am Stat 35:243-244", 1981),
        grid=_grid(delta=_steps(1, 6, 0.25), sd=_steps(5, 14, 0.5)),
        stories=(
            "Each patient's pain is scored before and after a nerve block; the mean change is expected to be "
            "{delta}, the "
            "standard deviation of the changes {sd}.",
            "In a crossover study every volunteer gets both diets. The paired differences in weight have a standard "
            "deviation of {sd} kg, and a mean of {delta} kg is of interest.",
            "Bone density is measured twice in the same women; the paired change of {delta} units (standard "
            "deviation of "
            "changes {sd}) should be found.",
        ),
        method="Use the two-sided paired t-test (noncentral t distribution, far tail ignored).",
        count="pairs",
        power=powers.paired_means,
        program="    df, shift = n - 1, {delta} / {sd} * sqrt(n)\n" + _T_TAIL,
    ),
    Design(
        name="anova",
        family="means",
        citation=Citation("Cohen J", "Statistical Power Analysis for the Behavioral Sciences, 2nd ed", 1988),
        grid=_grid(groups=(3, 4, 5, 6), f=_steps(0.14, 0.48, 0.02)),
        stories=(
            "A trial has {groups} arms with equal numbers; the effect on cholesterol corresponds to Cohen's f = {f}.",
            "Mean recovery times at {groups} hospitals are compared with equal samples; Cohen's f is {f}.",
            "{groups} doses of a drug are compared on a continuous endpoint, effect size f = {f}.",
        ),
        method=(
            "Use the one-way analysis of variance (noncentral F distribution, noncentrality total n times f squared)."
        ),
        count="patients per group",
        power=powers.anova,
        program=(
            "    df1, df2 = {groups} - 1, {groups} * (n - 1)\n"
            "    return ncf.sf(f.ppf(1 - {alpha}, df1, df2), df1, df2, {groups} * n * {f} ** 2)"
        ),
    ),
    Design(
        name="regression",
        family="association",
        citation=Citation("Cohen J", "Statistical Power Analysis for the Behavioral Sciences, 2nd ed", 1988),
        grid=_grid(predictors=(2, 3, 4, 5, 6, 8), r2=_steps(0.04, 0.3, 0.02)),
        stories=(
            "Length of stay is modelled by multiple linear regression on {predictors} predictors, which should explain "
            "R2 = {r2}.",
            "A linear model with {predictors} biomarkers is expected to explain a share of {r2} of the variance in "
            "lung "
            "function.",
            "Investigators regress cognitive score on {predictors} exposures at once; the population R2 is taken as "
            "{r2}.",
        ),
        method=(
            "Use the overall F-test of the regression (noncentral F distribution, noncentrality n * R2 / (1 - R2))."
        ),
        count="patients in total",
        power=powers.regression,
        smallest=12,
        program=(
            "    df1, df2 = {predictors}, n - {predictors} - 1\n"
            "    return ncf.sf(f.ppf(1 - {alpha}, df1, df2), df1, df2, n * {r2} / (1 - {r2}))"
        ),
        biostat=True,
        held_out=True,
    ),
    Design(
        name="two_proportions",
        family="proportions",
        citation=Citation("Fleiss JL, Tytun A, Ury HK", "Biometrics 36:343-346", 1980),
        grid=_grid(p1=_steps(0.1, 0.6, 0.02), p2=_steps(0.1, 0.6, 0.02)),
        stories=(
            "Infection occurs in a share of {p1} under standard care and is expected in {p2} under the new protocol.",
            "Two equally large groups are compared by response: {p1} against {p2}.",
            "A vaccine trial expects attack rates of {p1} and {p2} in its two arms of equal size.",
        ),
        method=(
            "Use the two-sided z-test with the pooled variance under the null and the unpooled one under the "
            "alternative, without continuity correction."
        ),
        count="patients per group",
        power=powers.two_proportions,
        possible=lambda v: 0.06 <= abs(v["p1"] - v["p2"]) <= 0.3,
        program=(
            "    p, q = {p1}, {p2}\n    m = (p + q) / 2\n"
            f"    shift = abs(p - q) * sqrt(n) - {_NORMAL} * sqrt(2 * m * (1 - m))\n"
            "    return norm.cdf(shift / sqrt(p * (1 - p) + q * (1 - q)))"
        ),
    ),
    Design(
        name="arcsine",
        family="proportions",
        citation=Citation("Cohen J", "Statistical Power Analysis for the Behavioral Sciences, 2nd ed", 1988),
        grid=_grid(p1=_steps(0.1, 0.7, 0.05), p2=_steps(0.12, 0.72, 0.05)),
        stories=(
            "Readmission shares of {p1} and {p2} are expected in two equal groups.",
            "Screening finds disease in {p1} of one population and {p2} of another; equal samples are drawn.",
            "A reminder letter should change attendance from {p1} to {p2}; groups are equal.",
        ),
        method="Use Cohen's effect size h (difference of arcsines) and the normal approximation, far tail ignored.",
        count="patients per group",
        power=powers.arcsine,
        possible=lambda v: 0.06 <= abs(v["p1"] - v["p2"]) <= 0.35,
        program=(
            "    h = abs(2 * asin(sqrt({p1})) - 2 * asin(sqrt({p2})))\n"
            f"    return norm.cdf(h * sqrt(n / 2) - {_NORMAL})"
        ),
        biostat=True,
        held_out=True,
    ),
    Design(
        name="one_proportion",
        family="proportions",
        citation=Citation("Fleiss JL", "Statistical Methods for Rates and Proportions, 2nd ed", 1981),
        grid=_grid(p0=_steps(0.1, 0.5, 0.02), p1=_steps(0.15, 0.7, 0.02)),
        stories=(
            "A single-arm study tests a response share of {p1} against a historical {p0}.",
            "The complication share is {p0} nationally; a centre suspects {p1}.",
            "A registry expects {p1} of implants to last ten years, against a benchmark of {p0}.",
        ),
        method="Use the two-sided one-sample z-test with the null variance under the null and the true one otherwise.",
        count="patients",
        power=powers.one_proportion,
        possible=lambda v: 0.05 <= abs(v["p1"] - v["p0"]) <= 0.3,
        program=(
            "    p, q = {p0}, {p1}\n"
            f"    shift = abs(q - p) * sqrt(n) - {_NORMAL} * sqrt(p * (1 - p))\n"
            "    return norm.cdf(shift / sqrt(q * (1 - q)))"
        ),
        biostat=True,
    ),
    Design(
        name="mcnemar",
        family="proportions",
        citation=Citation("Connor RJ", "Biometrics 43:207-211", 1987),
        grid=_grid(p10=_steps(0.1, 0.4, 0.02), p01=_steps(0.03, 0.2, 0.01)),
        stories=(
            "Two imaging tests are read in the same patients: positive by the first alone in {p10}, by the second "
            "alone in "
            "{p01}.",
            "Matched pairs differ in exposure: case only {p10}, control only {p01}.",
            "Symptoms are recorded before and after treatment; a share of {p10} lose them and {p01} gain them.",
        ),
        method="Use McNemar's test with Connor's formula (two-sided).",
        count="pairs",
        power=powers.mcnemar,
        possible=lambda v: v["p10"] - v["p01"] >= 0.05,
        program=(
            "    total, gap = {p10} + {p01}, abs({p10} - {p01})\n"
            f"    return norm.cdf((gap * sqrt(n) - {_NORMAL} * sqrt(total)) / sqrt(total - gap ** 2))"
        ),
        biostat=True,
    ),
    Design(
        name="chi_square",
        family="proportions",
        citation=Citation("Cohen J", "Statistical Power Analysis for the Behavioral Sciences, 2nd ed", 1988),
        grid=_grid(df=(2, 3, 4, 6, 8, 9), w=_steps(0.12, 0.42, 0.02)),
        stories=(
            "Blood group and outcome are cross-tabulated with {df} degrees of freedom; Cohen's w is {w}.",
            "A contingency table of tumour grade by site has {df} degrees of freedom and an effect size w of {w}.",
            "Genotype frequencies are compared with {df} degrees of freedom, w = {w}.",
        ),
        method="Use the chi-squared test (noncentral chi-squared distribution).",
        count="patients in total",
        power=powers.chi_square,
        program="    return ncx2.sf(chi2.ppf(1 - {alpha}, {df}), {df}, n * {w} ** 2)",
        biostat=True,
    ),
    Design(
        name="correlation",
        family="association",
        citation=Citation("Cohen J", "Statistical Power Analysis for the Behavioral Sciences, 2nd ed", 1988),
        grid=_grid(r=_steps(0.12, 0.6, 0.01)),
        stories=(
            "Serum vitamin D and bone density are thought to correlate with r = {r}.",
            "A new questionnaire is validated against a standard one; a correlation of {r} is expected.",
            "Investigators look for a correlation of {r} between gene expression and age.",
        ),
        method="Use Fisher's z transformation (two-sided, far tail ignored).",
        count="patients",
        power=powers.correlation,
        smallest=5,
        program=f"    return norm.cdf(0.5 * log((1 + {{r}}) / (1 - {{r}})) * sqrt(n - 3) - {_NORMAL})",
        biostat=True,
    ),
    Design(
        name="log_rank",
        family="survival",
        citation=Citation("Schoenfeld DA", "Biometrika 68:316-319", 1981),
        grid=_grid(hr=_steps(0.5, 0.8, 0.02), event=_steps(0.3, 0.9, 0.05)),
        stories=(
            "Overall survival is compared between two equal arms; the hazard ratio is {hr} and a share of {event} of "
            "all "
            "patients will have died by the analysis.",
            "Time to relapse under two drugs, equally allocated: hazard ratio {hr}, overall event probability {event}.",
            "Two stent types are compared by time to failure; hazard ratio {hr}, {event} of patients fail during "
            "follow-up.",
        ),
        method="Use the two-sided log-rank test with Schoenfeld's formula.",
        count="patients per group",
        power=powers.log_rank,
        program=f"    return norm.cdf(sqrt(2 * n * {{event}} / 4) * abs(log({{hr}})) - {_NORMAL})",
    ),
    Design(
        name="cox",
        family="survival",
        citation=Citation("Hsieh FY, Lavori PW", "Control Clin Trials 21:552-560", 2000),
        grid=_grid(
            hr=_steps(1.2, 2.0, 0.1), sd=_steps(0.4, 1.2, 0.1), r2=_steps(0.05, 0.35, 0.05), event=_steps(0.3, 0.8, 0.1)
        ),
        stories=(
            "A biomarker (standard deviation {sd}) enters a Cox model with covariates that explain R2 = {r2} of it; "
            "the "
            "hazard ratio per unit is {hr}, a share of {event} of patients has the event.",
            "In a Cox regression the exposure has standard deviation {sd}, R2 = {r2} with the other covariates, "
            "hazard ratio "
            "{hr} per unit; the event probability is {event}.",
            "Hazard ratio {hr} per unit of a frailty index (standard deviation {sd}), event probability {event}, "
            "squared "
            "multiple correlation with adjustment variables {r2}.",
        ),
        method="Use the formula of Hsieh and Lavori for the Wald test (two-sided).",
        count="patients in total",
        power=powers.cox,
        program=(
            "    information = n * {event} * {sd} ** 2 * (1 - {r2})\n"
            f"    return norm.cdf(sqrt(information) * abs(log({{hr}})) - {_NORMAL})"
        ),
        held_out=True,
    ),
    Design(
        name="wilcoxon",
        family="means",
        citation=Citation("Noether GE", "J Am Stat Assoc 82:645-647", 1987),
        grid=_grid(better=_steps(0.56, 0.75, 0.005)),
        stories=(
            "An ordinal pain scale is compared between two equal groups; a treated patient does better than a "
            "control with "
            "probability {better}.",
            "Two surgical techniques are compared by rank; the probability that the new one gives the better result is "
            "{better}.",
            "Skewed laboratory values of two equal groups are compared by ranks, P(X > Y) = {better}.",
        ),
        method="Use Noether's formula for the two-sided Wilcoxon-Mann-Whitney test.",
        count="patients per group",
        power=powers.wilcoxon,
        program=f"    return norm.cdf(sqrt(6 * n) * ({{better}} - 0.5) - {_NORMAL})",
        biostat=True,
    ),
    Design(
        name="rates",
        family="counts",
        citation=Citation("Hayes RJ, Bennett S", "Int J Epidemiol 28:319-326", 1999),
        grid=_grid(rate1=_steps(0.1, 0.9, 0.05), rate2=_steps(0.1, 0.9, 0.05), years=(0.5, 1, 2, 3)),
        stories=(
            "Exacerbations occur at {rate1} and {rate2} per person-year in two arms; each patient is followed for "
            "{years} "
            "years.",
            "Falls per person-year are {rate1} with and {rate2} without training, follow-up {years} years each.",
            "Two wards have infection rates of {rate1} and {rate2} per person-year; follow-up is {years} years per "
            "person.",
        ),
        method="Use the two-sided z-test for the difference of Poisson rates with variance (rate1 + rate2) / years.",
        count="patients per group",
        power=powers.rates,
        possible=lambda v: 0.1 <= abs(v["rate1"] - v["rate2"]) <= 0.4,
        program=(
            "    spread = sqrt(({rate1} + {rate2}) / {years})\n"
            f"    return norm.cdf(abs({{rate1}} - {{rate2}}) * sqrt(n) / spread - {_NORMAL})"
        ),
        biostat=True,
    ),
    Design(
        name="cluster",
        family="means",
        citation=Citation("Donner A, Birkett N, Buck C", "Am J Epidemiol 114:906-914", 1981),
        grid=_grid(
            delta=_steps(2, 6, 0.5), sd=_steps(8, 14, 1), size=(10, 15, 20, 30, 40), icc=(0.01, 0.02, 0.03, 0.05)
        ),
        stories=(
            "Practices of {size} patients each are randomised; the outcome has standard deviation {sd}, intracluster "
            "correlation {icc}, and a difference of {delta} is of interest.",
            "Schools with {size} children each are allocated to a diet lesson or none: difference {delta}, standard "
            "deviation {sd}, intracluster correlation {icc}.",
            "Whole wards ({size} patients each) get a new protocol; difference {delta}, standard deviation {sd}, "
            "intracluster correlation {icc}.",
        ),
        method="Use the two-sided z-test with the design effect 1 + (m - 1) * ICC.",
        count="clusters per group",
        power=powers.cluster,
        smallest=2,
        program=(
            "    effect = 1 + ({size} - 1) * {icc}\n"
            f"    return norm.cdf({{delta}} / {{sd}} * sqrt(n * {{size}} / (2 * effect)) - {_NORMAL})"
        ),
        biostat=True,
    ),
    Design(
        name="noninferior",
        family="means",
        citation=Citation("Julious SA", "Stat Med 23:1921-1986", 2004),
        grid=_grid(margin=_steps(2, 8, 0.25), sd=_steps(8, 18, 1)),
        stories=(
            "A generic drug must be no worse than the original by more than {margin} units; the true difference is "
            "zero and "
            "the standard deviation {sd}.",
            "Telephone follow-up is to be shown non-inferior to visits with a margin of {margin} points, standard "
            "deviation "
            "{sd}, no true difference.",
            "A shorter course is tested for non-inferiority: margin {margin}, standard deviation {sd}, equal true "
            "means.",
        ),
        method="Use the one-sided z-test for non-inferiority at level alpha with equal groups.",
        count="patients per group",
        power=powers.noninferior,
        program="    return norm.cdf({margin} / {sd} * sqrt(n / 2) - norm.ppf(1 - {alpha}))",
        held_out=True,
    ),
)

HEADER = _IMPORT
"""Imports of every reference program."""
