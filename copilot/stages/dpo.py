"""Stage ``dpo``: direct preference optimisation on rows of a ``build`` stage; goes on with the adapter it is given."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids
from copilot.training.config import DpoSettings, TrainingConfig


class DpoStage(StageConfig):
    """Direct preference optimisation."""

    type: Literal["dpo"]
    """This stage."""
    rows: str
    """Id of the ``build`` stage with ``dpo`` rows."""
    adapter: str = ""
    """What to go on from, and the reference: a training stage's id or a folder; empty: the recipe's model."""
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig(learning_rate=5e-6))
    """How weights are moved."""
    dpo: DpoSettings = Field(default_factory=DpoSettings)
    """The loss."""

    def upstream(self) -> list[str]:
        """The rows, and the stage gone on from; a name with a ``/`` is a folder."""
        return [self.rows, *stage_ids(self.adapter)]


def _run(config: DpoStage, ctx: StageContext) -> dict[str, Any]:
    from copilot.policy.factory import resolve_weights
    from copilot.training.dpo import dpo
    from copilot.training.loop import run_training

    start, rows = resolve_weights(ctx, config.adapter), Path(ctx.output(config.rows, "rows"))
    return run_training(dpo(config.dpo), ctx, config.training, rows=rows, start=start)


STAGE = Stage(DpoStage, _run)
