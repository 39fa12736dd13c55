"""Says where each rank runs, and sums the ranks over a real process group."""

import json
import os
from typing import Any, Literal

from copilot.stages.base import Stage, StageConfig, StageContext

NAMES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "ACCELERATE_USE_CPU",
    "ACCELERATE_MIXED_PRECISION",
)


class PlacesConfig(StageConfig):
    """Nothing to set."""

    type: Literal["places"] = "places"


def run(config: PlacesConfig, ctx: StageContext) -> dict[str, Any]:
    total = ctx.rank
    if ctx.world_size > 1:
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo")
        tensor = torch.tensor([float(ctx.rank + 1)])
        dist.all_reduce(tensor)
        total = int(tensor.item())
        dist.destroy_process_group()
    place = {name: os.environ.get(name) for name in NAMES} | {"rank": ctx.rank, "world_size": ctx.world_size}
    (ctx.folder / f"place{ctx.rank}.json").write_text(json.dumps(place))
    return {"total": total, "folder": str(ctx.folder)}


STAGE = Stage(PlacesConfig, run)
