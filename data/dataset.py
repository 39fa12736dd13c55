"""From stores to training rows: read, filter, build, select, and account for every trajectory.

Invariant: ``input == used + sum(dropped)`` over trajectories, and ``candidates == rows + sum(rows_dropped)`` over rows.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt

from copilot.config import StrictModel
from copilot.data.build_dpo import build_dpo
from copilot.data.build_kto import build_kto
from copilot.data.build_sft import build_sft
from copilot.data.build_verifier import Balance, build_verifier
from copilot.data.filters import AnyFilter
from copilot.data.mixture import select
from copilot.data.pairs import PairKind
from copilot.data.progress import watched
from copilot.data.rows import Built, Ref, Row, Sample
from copilot.data.store import StoreReport, read_trajectories
from copilot.data.trajectory import SuccessRule
from copilot.errors import EmptyDatasetError


class DatasetConfig(StrictModel):
    """What is made of the trajectories."""

    format: Literal["sft", "dpo", "kto", "verifier"]
    """Kind of rows."""
    filters: list[AnyFilter] = Field(default=[])
    """Filters, in order; masked samples are always left out. SFT without any trains on failures too."""
    success: SuccessRule = "submitted"
    """Which success rate tells right from wrong in DPO pairs, KTO and verifier labels."""
    mask_errors: bool = False
    """SFT: no loss on turns whose action was invalid or did not run through."""
    pairs: list[PairKind] = Field(default=["shared_prefix", "best_vs_worst"], min_length=1)
    """DPO: ``shared_prefix`` (the paper's form: the turn that led to success against an erroneous attempt, after the
    same tokens) and ``best_vs_worst`` (whole trajectories, a right against a wrong attempt of a task)."""
    balance: Balance = "task"
    """Verifier: ``task`` takes as many right as wrong attempts of each task, nearly right ones first (tasks that are
    all right or all wrong give none); ``none`` takes all. Attempts that read alike are one row that
    weighs as many."""
    prefixes: bool = False
    """Verifier: also a row per earlier turn, labelled with how the episode ended, or with the share of continuations
    that solved the task (``turn_labels`` of the build stage). For early stopping."""
    max_tokens: PositiveInt | None = None
    """Rows with more tokens (prompt included, the longer side of a pair) are left out, never cut."""
    max_per_task: PositiveInt | None = None
    """Rows of a task and store, at most; the builder's preferred ones."""
    max_per_template: PositiveInt | None = None
    """Rows of a question template, at most."""
    limit: PositiveInt | None = None
    """Rows in all, at most; taken in turn from every question template."""


@dataclass
class DatasetReport:
    """Counts of everything that went in, came out, and why the rest did not."""

    input: int = 0
    """Trajectories read."""
    used: int = 0
    """Trajectories that are in a row."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Trajectories that are in none, by reason."""
    candidates: int = 0
    """Rows or pairs that were looked at."""
    rows: int = 0
    """Rows that came out."""
    rows_dropped: Counter[str] = field(default_factory=Counter)
    """Candidates that did not, by reason."""
    tokens: int = 0
    """Tokens in all rows (of a pair: the longer side)."""
    trained_tokens: int = 0
    """Tokens with a loss."""
    longest: int = 0
    """Tokens of the longest row."""
    by_store: Counter[str] = field(default_factory=Counter)
    """Rows per store."""
    by_source: Counter[str] = field(default_factory=Counter)
    """Rows per task source."""
    by_template: Counter[str] = field(default_factory=Counter)
    """Rows per question template, ``source/template``."""
    by_kind: Counter[str] = field(default_factory=Counter)
    """DPO pairs per kind; KTO and verifier rows per label."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}


def read_samples(stores: Mapping[str, str | Path]) -> tuple[list[Sample], dict[str, StoreReport]]:
    """Read stores, label to path, into samples sorted by store (as given), task and attempt.

    Log-probabilities are left out: no builder uses them, and they are half of the memory.

    Raises:
        DataError: A store that is missing, or of another schema version.
    """
    samples, reports = [], {}
    for label, path in stores.items():
        reports[label] = StoreReport()
        found = []
        for trajectory in watched(read_trajectories(path, report=reports[label]), f"reading {label}"):
            rows = tuple(row.model_copy(update={"logprobs": None}) for row in trajectory.rows)
            found.append(Sample(label, trajectory.model_copy(update={"rows": rows})))
        samples += sorted(found, key=lambda sample: sample.ref)
    return samples, reports


def build_dataset(
    samples: Sequence[Sample],
    config: DatasetConfig,
    *,
    shares: Mapping[str, float] | None = None,
    excluded: Mapping[Ref, str] | None = None,
    seed: int = 0,
) -> tuple[list[Row], DatasetReport]:
    """Filter, build and select.

    Args:
        samples: What was read.
        config: What to make of it.
        shares: Share of each store among the rows.
        excluded: Trajectories to leave out from the start, with the reason (overlap with a held-out suite).
        seed: Of the selection.

    Raises:
        EmptyDatasetError: Nothing is left; the message carries the counts.
    """
    dropped: dict[Ref, str] = dict(excluded or {})
    kept = _filter([s for s in samples if s.ref not in dropped], config.filters, dropped)
    built = _build(kept, config)
    candidates = len(built.rows) + built.rows_dropped.total()
    chosen = select(
        built.rows,
        shares=shares,
        max_per_task=config.max_per_task,
        max_per_template=config.max_per_template,
        limit=config.limit,
        seed=seed,
    )
    used = {ref for row in chosen.rows for ref in row.parents}
    reasons = chosen.reasons | built.dropped | dropped
    report = _report(chosen.rows)
    report.input, report.used, report.candidates = len(samples), len(used), candidates
    report.dropped = Counter(reasons[s.ref] for s in samples if s.ref not in used)
    report.rows_dropped = built.rows_dropped + chosen.rows_dropped
    if not chosen.rows:
        raise EmptyDatasetError(_emptiness(config.format, report), remedy="relax the filters or sample more attempts")
    return chosen.rows, report


def _filter(samples: list[Sample], filters: Iterable[AnyFilter], dropped: dict[Ref, str]) -> list[Sample]:
    dropped |= {s.ref: "masked (infrastructure failure)" for s in samples if s.trajectory.masked}
    samples = [s for s in samples if not s.trajectory.masked]
    for each in filters:
        verdicts = each.judge([s.trajectory for s in samples])
        dropped |= {s.ref: verdict for s, verdict in zip(samples, verdicts, strict=True) if verdict}
        samples = [s for s, verdict in zip(samples, verdicts, strict=True) if not verdict]
    return samples


def _build(samples: list[Sample], config: DatasetConfig) -> Built:
    if config.format == "sft":
        return build_sft(samples, mask_errors=config.mask_errors, max_tokens=config.max_tokens)
    if config.format == "kto":
        return build_kto(samples, success=config.success, max_tokens=config.max_tokens)
    if config.format == "verifier":
        return build_verifier(
            samples,
            balance=config.balance,
            prefixes=config.prefixes,
            success=config.success,
            max_tokens=config.max_tokens,
        )
    return build_dpo(samples, kinds=config.pairs, success=config.success, max_tokens=config.max_tokens)


def _report(rows: Sequence[Row]) -> DatasetReport:
    return DatasetReport(
        rows=len(rows),
        tokens=sum(row.tokens for row in rows),
        trained_tokens=sum(row.trained for row in rows),
        longest=max((row.tokens for row in rows), default=0),
        by_store=Counter(row.store for row in rows),
        by_source=Counter(row.source for row in rows),
        by_template=Counter(f"{row.source}/{row.template}" for row in rows),
        by_kind=Counter(row.kind for row in rows if row.kind),
    )


def _emptiness(format: str, report: DatasetReport) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.dropped.most_common())
    pairs = ", ".join(f"{count} {reason}" for reason, count in report.rows_dropped.most_common())
    text = f"no {format} rows from {report.input} trajectories"
    return text + (f": {reasons}" if reasons else "") + (f"; candidate rows: {pairs}" if pairs else "")


def write_atomically(path: Path, lines: Iterable[str]) -> None:
    """Write a text file that is there only when complete and on disk."""
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
