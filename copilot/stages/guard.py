"""Stage ``guard``: a new policy goes on only if it is not worse than the old one on validation tasks.

A round of self-improvement can drift towards what its verifier likes; the guard asks the graders. It hands the new
policy's weights on under its own id, so a later stage that starts from the guard starts from a policy that passed it.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.errors import CopilotError, DataError, did_you_mean
from copilot.stages.base import Stage, StageConfig, StageContext


class RegressionError(CopilotError):
    """A policy that became worse; the run ends, what was made before stays."""

    boundary = "guard"


class GuardConfig(StageConfig):
    """Stop on regression."""

    type: Literal["guard"] = "guard"
    """This stage."""
    evaluation: str
    """Id of an ``evaluate`` stage that compares the two."""
    old: str
    """The old policy: its label in that evaluation."""
    new: str
    """The new policy: its label there, and the id of the training stage that made it."""
    tolerance: float = Field(default=0.0, ge=0)
    """How many points of submitted success the new policy may lose before the run ends."""

    def upstream(self) -> list[str]:
        """The evaluation, and the stage that trained the new policy."""
        return [self.evaluation, self.new]


def run(config: GuardConfig, ctx: StageContext) -> dict[str, Any]:
    """Returns the new policy's ``weights`` and ``kind`` with the lift.

    Raises:
        RegressionError: It lost more than ``tolerance`` points.
        DataError: The evaluation does not compare the two.
    """
    path = Path(ctx.output(config.evaluation, "evaluation"))
    comparisons = json.loads(path.read_text(encoding="utf-8"))["comparisons"]
    found = {f"{item['new']} over {item['old']}": item["overall"] for item in comparisons}
    wanted = f"{config.new} over {config.old}"
    if wanted not in found:
        raise DataError(f"no comparison {wanted!r}", where=config.evaluation, remedy=did_you_mean(wanted, found))
    lift = found[wanted]
    said = f"{lift['points']:+.1f} points [{lift['low']:+.1f}, {lift['high']:+.1f}] on {lift['tasks']} episodes"
    ctx.log(lift_points=lift["points"], lift_low=lift["low"], lift_high=lift["high"])
    if lift["points"] < -config.tolerance:
        raise RegressionError(
            f"{wanted}: {said}",
            where=ctx.stage_id,
            remedy=f"take {config.old!r}; train the next round more gently, or raise tolerance if this is noise",
        )
    return {"weights": ctx.output(config.new, "weights"), "kind": ctx.output(config.new, "kind"), "lift": said}


STAGE = Stage(GuardConfig, run, distributed=False)
