"""``paper`` mode: the rules by which MedAgentGym's released environment grades, faults included, for comparison only.

Arxiv 2506.04405's environment reads what a program printed (standard output and error together), not what it submits,
and its checks pass on much that solves nothing; each rule here says what its check does. Tables made with them are
labelled ``paper``. Nothing trains or evaluates on them unless a recipe asks for it.
"""

from collections.abc import Callable
from enum import StrEnum

from pydantic import JsonValue

from copilot.config import Record
from copilot.reward.answers import (
    Answer,
    BooleanAnswer,
    DateAnswer,
    IntegerAnswer,
    ListAnswer,
    OutputsAnswer,
    PredictionsAnswer,
    RealAnswer,
    RowsAnswer,
    SetAnswer,
    StateAnswer,
    StringAnswer,
)


class PaperRule(StrEnum):
    """The published checks."""

    SUBSTRING = "gold text is somewhere in the output"
    ANY_RUN = "any execution passes, even a crash"
    NO_CRASH = "any program that does not crash passes"
    WORD = "the word true, else the word false, in the output"
    ONE_SIDED = "gold >= 0.95 x output or gold <= 1.05 x output"
    POWER = "sample size exactly, power within 1 %"
    SAME_OUTPUT = "output equals the reference program's output"
    PREDICTED_ROWS = "accuracy over the rows that were predicted"


RULES: dict[str, PaperRule] = {
    "MIMIC-III": PaperRule.SUBSTRING,
    "eICU": PaperRule.SUBSTRING,
    "TREQS": PaperRule.SUBSTRING,
    "MedCalcBench": PaperRule.ONE_SIDED,
    "MedAgentBench": PaperRule.SUBSTRING,
    "BioCoder": PaperRule.SAME_OUTPUT,
    "EHRSHOT": PaperRule.PREDICTED_ROWS,
    "BioDSBench": PaperRule.NO_CRASH,
    "EHR-SeqSQL": PaperRule.ANY_RUN,
    "EHRCon": PaperRule.WORD,
    "MIMIC-Extract": PaperRule.PREDICTED_ROWS,
    "N-PowerAI": PaperRule.POWER,
}
"""Row of the paper's Table 2 to its check; MedAgentBench's checks, one per task type, are all searches for text."""


class Printed(Record):
    """What a program left behind, as the paper's environment sees it."""

    output: str
    """Standard output and error, in this order."""
    failed: bool = False
    """Whether it ended with an error."""
    predictions: JsonValue = None
    """The predictions file it wrote, as row to value."""


def paper_score(rule: PaperRule, answer: Answer, printed: Printed) -> float:
    """The score of the published check: 1 or 0, or a share for predictions.

    Args:
        rule: The source's check.
        answer: The reference.
        printed: What the program left behind; hostile.
    """
    return _CHECKS[rule](answer, printed)


def gold_text(answer: Answer) -> str:
    """The reference as the released task files write it: the text of the first element of the answer."""
    match answer:
        case IntegerAnswer() | RealAnswer() | StringAnswer() | DateAnswer():
            return str(answer.value)
        case BooleanAnswer():
            return str(int(answer.value))
        case SetAnswer() | ListAnswer():
            return str(answer.values[0]) if answer.values else ""
        case RowsAnswer():
            return ", ".join(map(str, answer.rows[0])) if answer.rows else ""
        case StateAnswer():
            return gold_text(answer.value) if answer.value is not None else str(answer.created)
        case OutputsAnswer():
            return str(answer.outputs)
    return ""


def _substring(answer: Answer, printed: Printed) -> float:
    gold, output = gold_text(answer), printed.output
    if gold in output:
        return 1.0
    output = output.replace("True", "1") if "True" in output else output.replace("False", "0")
    gold = {"False": "0", "false": "0", "True": "1", "true": "1", "None": "0", "none": "0"}.get(gold, gold)
    parts = gold.split(", ") if ", " in gold else [gold.removesuffix(".0")]
    return float(all(part in output for part in parts))


def _word(answer: Answer, printed: Printed) -> float:
    text = printed.output.lower()
    found = True if "true" in text else False if "false" in text else None
    return float(isinstance(answer, BooleanAnswer) and found is answer.value)


def _one_sided(answer: Answer, printed: Printed) -> float:
    gold, found = _number(gold_text(answer)), _number(printed.output)
    if gold is None or found is None:
        return 0.0
    return float(gold >= found * 0.95 or gold <= found * 1.05)


def _power(answer: Answer, printed: Printed) -> float:
    found = _number(printed.output)
    if found is None or not isinstance(answer, IntegerAnswer | RealAnswer):
        return 0.0
    if isinstance(answer, IntegerAnswer):
        return float(printed.output.strip().lstrip("+-").isdigit() and found == answer.value)
    return float(answer.value * 0.99 < found < answer.value * 1.01)


def _predicted_rows(answer: Answer, printed: Printed) -> float:
    """One row that is right is accuracy 1; rows that are left out do not count."""
    if not isinstance(answer, PredictionsAnswer) or not isinstance(printed.predictions, dict):
        return 0.0
    given = {row: value for row, value in printed.predictions.items() if row in answer.labels}
    right = sum(isinstance(v, int | float) and (v >= 0.5) is answer.labels[row] for row, v in given.items())
    return right / len(given) if given else 0.0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # what the published code does with it: wrong
        return None


_CHECKS: dict[PaperRule, Callable[[Answer, Printed], float]] = {
    PaperRule.SUBSTRING: _substring,
    PaperRule.ANY_RUN: lambda _answer, _printed: 1.0,
    PaperRule.NO_CRASH: lambda _answer, printed: float(not printed.failed),
    PaperRule.WORD: _word,
    PaperRule.ONE_SIDED: _one_sided,
    PaperRule.POWER: _power,
    PaperRule.SAME_OUTPUT: lambda answer, printed: float(printed.output.strip() == gold_text(answer)),
    PaperRule.PREDICTED_ROWS: _predicted_rows,
}
