"""Stage ``build``: trajectories in, training rows out, with a count for everything that was left out.

A pure function of its inputs: run again it writes the same bytes, so a killed build simply starts over; the rows
appear under their name only when complete.
"""

import json
import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from copilot.config import StrictModel
from copilot.data.dataset import DatasetConfig, DatasetReport, build_dataset, read_samples, write_atomically
from copilot.data.decontaminate import Overlap, find_overlap
from copilot.data.rows import Ref, Sample
from copilot.errors import DataError
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids

log = logging.getLogger(__name__)


class StoreShare(StrictModel):
    """A trajectory store and how much of the rows come from it."""

    store: str
    """A ``sample`` stage's id, or a folder of trajectories (with a ``/``)."""
    share: PositiveFloat
    """Share of the rows; all stores' shares add up to 1."""


class BuildConfig(StageConfig, DatasetConfig):
    """Make SFT rows, DPO pairs, KTO or verifier rows from trajectories."""

    type: Literal["build"] = "build"
    """Name of the stage."""
    trajectories: list[str | StoreShare] = Field(min_length=1)
    """``sample`` stages by id, or folders (with a ``/``: ``./old``); with ``{store:, share:}`` a mixture."""
    held_out: list[str] = Field(default=[])
    """Suites (names or files) not to be trained on: equal questions are left out, overlaps reported."""
    turn_labels: str = ""
    """A ``continuations`` stage's id: with ``prefixes``, verifier rows of single turns are labelled by it."""
    scores: str = ""
    """A ``score`` stage's id over the same stores: DPO's ``best_vs_worst`` pairs are then of the best-scored right and
    the lowest-scored wrong attempts. Empty: no verifier."""
    seed: int | None = None
    """Seed of the selection; empty: the recipe's."""

    @model_validator(mode="after")
    def _whole_shares(self) -> Self:
        shares = [share for share in self.stores().values() if share is not None]
        if len(self.stores()) < len(self.trajectories):
            raise ValueError("trajectories: a store is named twice")
        if self.turn_labels and not (self.format == "verifier" and self.prefixes):
            raise ValueError("turn_labels go with format: verifier and prefixes: true")
        if self.scores and self.format != "dpo":
            raise ValueError("scores go with format: dpo")
        if shares and (len(shares) < len(self.trajectories) or abs(sum(shares) - 1) > 1e-6):
            raise ValueError("trajectories: give every store a share, adding up to 1, or none of them")
        return self

    def upstream(self) -> list[str]:
        """The stages read: every entry that is not a path."""
        stores = stage_ids(*self.stores())
        return [*stores, *(name for name in (self.scores, self.turn_labels) if name)]

    def stores(self) -> dict[str, float | None]:
        """Stores by name, with their shares."""
        return {
            entry if isinstance(entry, str) else entry.store: None if isinstance(entry, str) else entry.share
            for entry in self.trajectories
        }


def run(config: BuildConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``rows.jsonl`` and ``report.json``; see :class:`DatasetReport` for the counts."""
    stores = {name: ctx.locate(name, "trajectories") for name in config.stores()}
    samples, read = read_samples(stores)
    samples, rendered = _with_rows(samples, ctx)
    samples = _with_turn_values(_with_scores(samples, config, ctx), config, ctx)
    overlap = _held_out(config.held_out, samples)
    rows, report = build_dataset(
        samples,
        config,
        shares=_shares(config),
        excluded=overlap.reasons() if overlap else None,
        seed=ctx.seed if config.seed is None else config.seed,
    )
    ctx.folder.mkdir(parents=True, exist_ok=True)
    rows_file, report_file = ctx.folder / "rows.jsonl", ctx.folder / "report.json"
    write_atomically(rows_file, (json.dumps(row.record, separators=(",", ":")) + "\n" for row in rows))
    full = {
        **report.as_dict(),
        "stores": {name: {"path": str(stores[name]), **each.as_dict()} for name, each in read.items()},
        "rendered": rendered,
        "held_out": overlap.as_dict() if overlap else None,
    }
    write_atomically(report_file, [json.dumps(full, indent=2) + "\n"])
    unreadable = sum(each.bad + each.half for each in read.values())
    ctx.log(rendered=rendered, unreadable_lines=unreadable, **_figures(report))
    return {
        "rows": str(rows_file.absolute()),
        "format": config.format,
        "count": len(rows),
        "report": str(report_file.absolute()),
    }


def _with_rows(samples: list[Sample], ctx: StageContext) -> tuple[list[Sample], int]:
    """The samples, those of text-only teachers rendered in the model's tokens, and how many these are."""
    from copilot.rollout.teacher import lacks_rows, render_samples

    count = sum(lacks_rows(sample.trajectory) for sample in samples)
    if not count:
        return samples, 0
    from copilot.policy.tokens import load_tokenizer

    log.info("%d text-only trajectories rendered in the tokens of %s", count, ctx.model.path)
    return render_samples(samples, load_tokenizer(ctx.model.path)), count


def _with_scores(samples: list[Sample], config: BuildConfig, ctx: StageContext) -> list[Sample]:
    """The samples with a verifier's scores; masked ones, which are left out anyway, have none."""
    if not config.scores:
        return samples
    from copilot.verifier.scores import read_scores

    path = Path(ctx.output(config.scores, "scores"))
    scored = read_scores(path)
    missing = sum(s.ref not in scored for s in samples if not s.trajectory.masked)
    if missing:
        raise DataError(
            f"{missing} of {len(samples)} trajectories have no score",
            where=path,
            remedy=f"name the same trajectories in stage {config.scores!r} as here, in the same words",
        )
    return [replace(s, score=scored[s.ref].score) if s.ref in scored else s for s in samples]


def _with_turn_values(samples: list[Sample], config: BuildConfig, ctx: StageContext) -> list[Sample]:
    """The samples with the labels of their turns; those that were not continued have none."""
    if not config.turn_labels:
        return samples
    values: dict[Ref, dict[int, float]] = defaultdict(dict)
    with open(ctx.output(config.turn_labels, "turn_values"), encoding="utf-8") as file:
        for record in map(json.loads, file):
            values[record["store"], record["task_id"], record["attempt"]][record["turns"]] = record["value"]
    return [replace(s, turn_values=values.get(s.ref)) for s in samples]


def _shares(config: BuildConfig) -> dict[str, float] | None:
    shares = {name: share for name, share in config.stores().items() if share is not None}
    return shares or None


def _held_out(suites: list[str], samples: list[Sample]) -> Overlap | None:
    if not suites:
        return None
    from copilot.envs.suites import find_suite, read_suite

    overlap = find_overlap(samples, (task for name in suites for task in read_suite(find_suite(name))))
    if overlap.held_out_same:
        log.warning("%d held-out questions are asked in training; left out", len(overlap.held_out_same))
    return overlap


def _figures(report: DatasetReport) -> dict[str, int]:
    """The report's numbers under flat names, for ``metrics.jsonl``."""
    flat: dict[str, int] = {}
    for name, value in report.as_dict().items():
        if isinstance(value, dict):
            flat |= {f"{name}/{key}": count for key, count in value.items() if name != "by_template"}
        else:
            flat[name] = value
    return flat


STAGE = Stage(config=BuildConfig, run=run, distributed=False)
