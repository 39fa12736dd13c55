"""Stage ``grpo``: group-relative policy optimisation on execution rewards; the adapter it is given travels on."""

from typing import Any

from copilot.online.config import GrpoConfig
from copilot.stages.base import Stage, StageContext


def _run(config: GrpoConfig, ctx: StageContext) -> dict[str, Any]:
    from copilot.online.estimators import group_relative
    from copilot.online.loop import run_online
    from copilot.online.session import Algorithm

    return run_online(config, ctx, Algorithm(group_relative(config.advantage)))


STAGE = Stage(GrpoConfig, _run)
