"""Writes numbered lines, one at a time, and goes on after the last whole one."""

import os
import time
from pathlib import Path
from typing import Any, Literal

from copilot.stages.base import Stage, StageConfig, StageContext


class LinesConfig(StageConfig):
    """How many lines, and from which earlier stage the first comes."""

    type: Literal["lines"] = "lines"
    count: int = 3
    """Lines per rank."""
    after: str = ""
    """A stage to read."""
    pause: float = 0.0
    """Seconds between lines."""
    source: str = ""
    """A file whose content counts."""
    say: str = ""
    """Name of an environment variable to print."""

    def upstream(self) -> list[str]:
        return [self.after] if self.after else []


def run(config: LinesConfig, ctx: StageContext) -> dict[str, Any]:
    if config.say:
        os.write(1, f"the value is {os.environ[config.say]} indeed\n".encode())
    path = ctx.folder / f"rank{ctx.rank}.txt"
    path.touch()
    have = path.read_text().count("\n")
    with open(path, "a") as file:
        for number in range(have, config.count):
            file.write(f"{number} {os.getpid()}\n")
            file.flush()
            ctx.log(step=number, value=float(number))
            time.sleep(config.pause)
    first = ctx.output(config.after, "file") if config.after else ""
    return {"file": str(path), "count": len(Path(path).read_text().splitlines()), "first": first}


STAGE = Stage(LinesConfig, run)
