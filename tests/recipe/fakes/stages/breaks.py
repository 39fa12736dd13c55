"""Fails in the ways a stage can."""

import os
import signal
import subprocess
import time
from typing import Any, Literal

from copilot.errors import EmptyDatasetError
from copilot.stages.base import Stage, StageConfig, StageContext


class BreaksConfig(StageConfig):
    """How, and on which rank."""

    type: Literal["breaks"] = "breaks"
    how: Literal["mistake", "bug", "kill", "hang", "leave"] = "bug"
    """The way."""
    rank: int = 0
    """Where; other ranks wait for ever."""


def run(config: BreaksConfig, ctx: StageContext) -> dict[str, Any]:
    (ctx.folder / f"pid{ctx.rank}").write_text(str(os.getpid()))
    if ctx.rank == config.rank:
        if config.how == "mistake":
            raise EmptyDatasetError("nothing left of 12 rows", remedy="loosen the filter")
        if config.how == "bug":
            raise ValueError("a bug in here")
        if config.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if config.how == "leave":
            left = subprocess.Popen(["sleep", "300"])
            (ctx.folder / "left").write_text(str(left.pid))
            return {}
    while True:
        time.sleep(0.05)


STAGE = Stage(BreaksConfig, run)
