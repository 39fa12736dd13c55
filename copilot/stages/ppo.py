"""Stage ``ppo``: proximal policy optimisation with a critic on execution rewards; its adapter travels on."""

from typing import Any

from copilot.online.config import PpoConfig
from copilot.stages.base import Stage, StageContext


def _run(config: PpoConfig, ctx: StageContext) -> dict[str, Any]:
    from copilot.online.estimators import with_critic
    from copilot.online.loop import run_online
    from copilot.online.session import Algorithm

    return run_online(config, ctx, Algorithm(with_critic(config), config.critic))


STAGE = Stage(PpoConfig, _run)
