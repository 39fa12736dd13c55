"""Stage ``verifier``: a model learns to say whether an episode is right, then its scores are calibrated.

Trains on ``verifier`` rows of a ``build`` stage. With ``validation`` rows (of other tasks, unbalanced) it fits
temperature and shift, without them scores are ordered but no probabilities. The weights folder holds all that a scorer
needs.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from copilot.errors import DataError
from copilot.policy.config import TransformersConfig
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids
from copilot.training.config import TrainingConfig
from copilot.verifier.config import INFO_FILE, VerifierInfo, VerifierSettings

if TYPE_CHECKING:
    from copilot.training.rows import Row
    from copilot.verifier.encoding import Encoder


class VerifierStage(StageConfig):
    """Train and calibrate an outcome verifier."""

    type: Literal["verifier"] = "verifier"
    """This stage."""
    rows: str
    """Id of the ``build`` stage with ``verifier`` rows."""
    validation: str = ""
    """Id of the ``build`` stage with validation rows, of other tasks and with ``balance: none``; empty: scores are not
    calibrated."""
    adapter: str = ""
    """What to go on from (YES/NO head): a training stage's id or a folder; empty: the recipe's model."""
    verifier: VerifierSettings = Field(default_factory=VerifierSettings)
    """Head and input."""
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig(learning_rate=1e-4, epochs=2))
    """How weights are moved; ``max_tokens`` and ``too_long`` are the verifier's own."""
    batch: int = Field(default=16, ge=1)
    """Sequences per forward when validation rows are scored."""

    def upstream(self) -> list[str]:
        """Rows, validation rows, and the stage gone on from; a name with a ``/`` is a folder."""
        start = stage_ids(self.adapter)
        return [self.rows, *([self.validation] if self.validation else []), *start]


def _run(config: VerifierStage, ctx: StageContext) -> dict[str, Any]:
    from copilot.data.dataset import write_atomically
    from copilot.policy.factory import resolve_weights
    from copilot.policy.tokens import load_tokenizer
    from copilot.training.loop import run_training
    from copilot.verifier.encoding import Encoder
    from copilot.verifier.training import encode_rows, read_text_rows, verifier_method, write_encoded

    start, settings = resolve_weights(ctx, config.adapter), config.verifier
    encoder = Encoder(load_tokenizer(start.model), settings.max_tokens)
    rows = read_text_rows(Path(ctx.output(config.rows, "rows")))
    held_out = read_text_rows(Path(ctx.output(config.validation, "rows"))) if config.validation else []
    check_apart(rows, held_out)
    ctx.folder.mkdir(parents=True, exist_ok=True)
    encoded = ctx.folder / f"encoded.rank{ctx.rank}.jsonl"
    counts = write_encoded(encoded, rows, encoder)
    encode_rows(held_out, encoder)  # what cannot be read ends it here, not after the training
    ctx.log(**{f"verifier_{name}": count for name, count in counts.items()})
    training = config.training.model_copy(update={"max_tokens": settings.max_tokens, "too_long": "drop"})
    outputs = run_training(verifier_method(settings, encoder), ctx, training, rows=encoded, start=start)
    if not ctx.is_main:
        return {}
    weights = Path(outputs["weights"])
    if not (weights / INFO_FILE).is_file():
        described = _describe(config, ctx, start.model, encoder, rows, held_out, weights)
        write_atomically(weights / INFO_FILE, [described])
    info = VerifierInfo.model_validate_json((weights / INFO_FILE).read_bytes())
    return {**outputs, **counts, "head": settings.head, "temperature": info.calibration.temperature}


def _describe(
    config: VerifierStage,
    ctx: StageContext,
    base: str,
    encoder: "Encoder",
    rows: list["Row"],
    held_out: list["Row"],
    weights: Path,
) -> str:
    """``verifier.json``, after validation rows were scored."""
    from copilot.verifier.splits import task_hash

    info = VerifierInfo(
        head=config.verifier.head,
        base=base,
        max_tokens=config.verifier.max_tokens,
        yes_id=encoder.yes_id,
        no_id=encoder.no_id,
        trained_on=tuple(sorted({task_hash(row["task_id"]) for row in [*rows, *held_out]})),
    )
    if held_out:
        info = _calibrated(info, config, ctx, held_out, weights)
    return info.model_dump_json(indent=1)


def _calibrated(
    info: VerifierInfo, config: VerifierStage, ctx: StageContext, rows: list["Row"], weights: Path
) -> VerifierInfo:
    """Score the validation rows in process and fit temperature and shift."""
    import asyncio

    from copilot.verifier.calibration import expected_calibration_error, fit_calibration
    from copilot.verifier.discrimination import auc, auprc
    from copilot.verifier.factory import verifier_weights
    from copilot.verifier.in_process import InProcessScorer

    scorer = InProcessScorer(
        info,
        verifier_weights(weights, base=info.base),
        TransformersConfig(dtype=ctx.model.dtype, max_batch=config.batch),
    )
    logits = asyncio.run(scorer.logits_of_rows(rows))
    lines = [
        json.dumps({name: r.get(name, 1) for name in ("task_id", "attempt", "copies", "label")} | {"logit": z})
        for r, z in zip(rows, logits, strict=True)
    ]
    copies = [row.get("copies", 1) for row in rows]
    logits = [z for z, count in zip(logits, copies, strict=True) for _ in range(count)]
    labels = [bool(row["label"]) for row, count in zip(rows, copies, strict=True) for _ in range(count)]
    calibration = fit_calibration(logits, labels)
    scores = calibration.scores(logits)
    (ctx.folder / "validation.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ctx.log(
        validation_rows=len(rows),
        validation_attempts=len(labels),
        validation_auc=auc(scores, labels),
        validation_auprc=auprc(scores, labels),
        validation_ece=expected_calibration_error(scores, labels),
        temperature=calibration.temperature,
        shift=calibration.shift,
    )
    return info.evolve(calibration=calibration)


def check_apart(rows: Iterable["Row"], held_out: Iterable["Row"]) -> None:
    """Training and validation rows must share no task.

    Raises:
        DataError: They do; with counts.
    """
    trained, validated = ({row["task_id"] for row in part} for part in (rows, held_out))
    shared = trained & validated
    if shared:
        raise DataError(
            f"{len(shared)} of {len(validated)} validation tasks are trained on, {min(shared)} among them",
            remedy="split by task: the part filter in both builds, or other splits",
        )


STAGE = Stage(VerifierStage, _run)
