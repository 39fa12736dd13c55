"""Like ``places``, on rank 0 only."""

import json
import os
from typing import Any, Literal

from copilot.stages.base import Stage, StageConfig, StageContext


class AloneConfig(StageConfig):
    """Nothing to set."""

    type: Literal["alone"] = "alone"


def run(config: AloneConfig, ctx: StageContext) -> dict[str, Any]:
    (ctx.folder / f"alone{ctx.rank}.json").write_text(json.dumps({"RANK": os.environ.get("RANK")}))
    return {"world_size": ctx.world_size}


STAGE = Stage(AloneConfig, run, distributed=False)
