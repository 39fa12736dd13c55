"""Stage ``early_stop``: fits the score below which a running episode is given up, and states the error of doing so."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field

from copilot.data.trajectory import SuccessRule
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids


class EarlyStopConfig(StageConfig):
    """Fit and measure early stopping."""

    type: Literal["early_stop"] = "early_stop"
    """This stage."""
    verifier: str
    """A ``verifier`` stage's id (its rows built with ``prefixes``), or a verifier's folder (with a ``/``)."""
    validation: str
    """``sample`` stage or folder whose episodes the threshold is fitted on."""
    test: str
    """``sample`` stage or folder, of other tasks, on which its error is measured."""
    max_error: float = Field(default=0.05, ge=0, lt=1)
    """Share of the validation episodes solved in the end that may be given up."""
    success: SuccessRule = "submitted"
    """Which success rate tells right from wrong."""
    engine: Annotated[TransformersConfig | VllmConfig, Field(discriminator="type")] = Field(
        default_factory=TransformersConfig
    )
    """Where the verifier runs."""

    def upstream(self) -> list[str]:
        """Verifier and stores; a name with a ``/`` is a folder."""
        return stage_ids(self.verifier, self.validation, self.test)


def run(config: EarlyStopConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``early_stop.json``; returns the verifier, the ``threshold`` and its figures on the test episodes.

    Raises:
        DataError: The two share a task, or no validation episode is right.
    """
    from copilot.data.dataset import write_atomically
    from copilot.errors import DataError
    from copilot.verifier.early_stop import Watched, fit_threshold, stopping, watch
    from copilot.verifier.factory import make_scorer
    from copilot.verifier.scores import read_scorable
    from copilot.verifier.splits import check_unseen

    parts = {}
    for name in (config.validation, config.test):
        store = ctx.locate(name, "trajectories")
        parts[name] = [sample.trajectory for sample in read_scorable({name: store})[0]]
    shared = {t.task_id for t in parts[config.validation]} & {t.task_id for t in parts[config.test]}
    if shared:
        raise DataError(f"{len(shared)} tasks are in validation and test", where=ctx.stage_id, remedy="use other tasks")
    folder = ctx.locate(config.verifier, "weights")
    scorer = make_scorer(folder, config.engine, log_folder=ctx.folder / "logs")
    check_unseen(scorer.info, (t.task_id for t in parts[config.test]))

    async def both() -> tuple[list[Watched], list[Watched]]:
        await scorer.start()
        try:
            validation = await watch(scorer, parts[config.validation], rule=config.success)
            return validation, await watch(scorer, parts[config.test], rule=config.success)
        finally:
            await scorer.close()

    fitted_on, measured_on = asyncio.run(both())
    threshold = fit_threshold(fitted_on, max_error=config.max_error)
    found = stopping(measured_on, threshold)
    ctx.folder.mkdir(parents=True, exist_ok=True)
    path = ctx.folder / "early_stop.json"
    write_atomically(path, [json.dumps({"max_error": config.max_error, **asdict(found)}, indent=1) + "\n"])
    figures: dict[str, Any] = {
        "threshold": threshold,
        "error": found.error.value,
        "error_high": found.error.high,
        "caught": found.caught.value,
        "turns_saved": found.turns_saved,
    }
    ctx.log(**figures)
    return {"verifier": str(folder), "early_stop": str(path), **figures}


STAGE = Stage(EarlyStopConfig, run, distributed=False)
