"""Stage ``kto``: Kahneman-Tversky optimisation on rows of a ``build`` stage; goes on with the adapter it is given."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids
from copilot.training.config import KtoSettings, TrainingConfig


class KtoStage(StageConfig):
    """Kahneman-Tversky optimisation."""

    type: Literal["kto"]
    """This stage."""
    rows: str
    """Id of the ``build`` stage with ``kto`` rows."""
    adapter: str = ""
    """What to go on from, and the reference: a training stage's id or a folder; empty: the recipe's model."""
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig(learning_rate=5e-6))
    """How weights are moved."""
    kto: KtoSettings = Field(default_factory=KtoSettings)
    """The loss."""

    def upstream(self) -> list[str]:
        """The rows, and the stage gone on from; a name with a ``/`` is a folder."""
        return [self.rows, *stage_ids(self.adapter)]


def _run(config: KtoStage, ctx: StageContext) -> dict[str, Any]:
    from copilot.policy.factory import resolve_weights
    from copilot.training.kto import kto
    from copilot.training.loop import run_training

    start, rows = resolve_weights(ctx, config.adapter), Path(ctx.output(config.rows, "rows"))
    return run_training(kto(config.kto), ctx, config.training, rows=rows, start=start)


STAGE = Stage(KtoStage, _run)
