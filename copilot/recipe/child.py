"""``python -m copilot.recipe.child``: runs one stage in a process of its own, so that nothing leaks to the next.

The job comes as JSON on standard input, the result goes to the descriptor the parent names. Progress bars of
rich's default console are drawn on the terminal of rank 0; everything printed goes to the log.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from copilot.errors import CopilotError
from copilot.recipe.process import PARENT_ENV, RESULT_ENV, TERMINAL_ENV, die_with_parent

_PLAIN_WIDTH = 120  # of tables that go to a file or a pipe


def main() -> int:
    """Do the job; the exit code is 0, or a :class:`CopilotError`'s, or 1."""
    die_with_parent(int(os.environ.pop(PARENT_ENV)))
    for number in (signal.SIGINT, signal.SIGTERM):  # a background shell starts its jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    result_fd = int(os.environ.pop(RESULT_ENV))
    os.set_inheritable(result_fd, False)
    _draw_on(os.environ.pop(TERMINAL_ENV, None))
    job = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        answer, code = {"outputs": _resolve(job) if "resolve" in job else _run(job)}, 0
    except CopilotError as error:
        answer, code = {"error": error.lines()}, error.exit_code
        traceback.print_exc()
    except KeyboardInterrupt:
        answer, code = {"error": ["interrupted"]}, 130
    with os.fdopen(result_fd, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    return code


def _resolve(job: dict[str, Any]) -> dict[str, Any]:
    from copilot.models.fetch import resolve_model

    return {"model": resolve_model(job["resolve"])}


def _run(job: dict[str, Any]) -> dict[str, Any]:
    from copilot.config import parse
    from copilot.models.fetch import resolve_model
    from copilot.recipe.schema import ModelConfig
    from copilot.stages.base import StageContext, get_stage

    now = time.strftime("%Y-%m-%d %H:%M:%S")
    _say(f"{now} stage {job['id']} ({job['type']}) rank {job['rank']} of {job['world_size']}")
    stage = get_stage(job["type"])
    model = ModelConfig(**job["model"])
    context = StageContext(
        folder=Path(job["folder"]),
        run_folder=Path(job["run_folder"]),
        outputs=job["outputs"],
        model=model.model_copy(update={"path": resolve_model(model.path)}),
        seed=job["seed"],
        rank=job["rank"],
        local_rank=job["local_rank"],
        world_size=job["world_size"],
        stage_id=job["id"],
        data_use=job["data_use"],
    )
    outputs: dict[str, Any] = stage.run(parse(stage.config, job["config"], where=f"stage {job['id']}"), context)
    return outputs


def _draw_on(terminal: str | None) -> None:
    if terminal is None:
        return
    import rich

    fd = int(terminal)
    os.set_inheritable(fd, False)
    columns = os.get_terminal_size(fd).columns if os.isatty(fd) else 0
    rich.reconfigure(file=os.fdopen(fd, "w", encoding="utf-8"), width=columns or _PLAIN_WIDTH)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
