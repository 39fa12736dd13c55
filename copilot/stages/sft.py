"""Stage ``sft``: supervised fine-tuning on rows of a ``build`` stage; the adapter it leaves travels on."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids
from copilot.training.config import TrainingConfig


class SftStage(StageConfig):
    """Supervised fine-tuning."""

    type: Literal["sft"]
    """This stage."""
    rows: str
    """Id of the ``build`` stage with ``sft`` rows."""
    adapter: str = ""
    """What to go on from: a training stage's id or a folder; empty: the recipe's model."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How weights are moved."""

    def upstream(self) -> list[str]:
        """The rows, and the stage gone on from; a name with a ``/`` is a folder."""
        return [self.rows, *stage_ids(self.adapter)]


def _run(config: SftStage, ctx: StageContext) -> dict[str, Any]:
    from copilot.policy.factory import resolve_weights
    from copilot.training.loop import run_training
    from copilot.training.sft import SFT

    start, rows = resolve_weights(ctx, config.adapter), Path(ctx.output(config.rows, "rows"))
    return run_training(SFT, ctx, config.training, rows=rows, start=start)


STAGE = Stage(SftStage, _run)
