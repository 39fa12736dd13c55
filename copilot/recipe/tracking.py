"""Weights & Biases, when the recipe asks for it: a mirror of ``metrics.jsonl``, so that the file stays the truth.

Runs in rank 0's supervisor, sends figures only (never tables or texts: the data may be credentialed) and goes on
where a killed run stopped. Without a key it is offline.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any, Literal

from copilot.errors import RecipeError
from copilot.recipe.folder import recipe_record, write_json
from copilot.recipe.schema import Recipe, WandbConfig
from copilot.recipe.secrets import Scrubber


class Tracker:
    """Mirrors the metrics file to a W&B run.

    Args:
        recipe: Its ``wandb`` section names the project; it is recorded as the run's config.
        metrics: The file.
        scrub: Takes secrets out of the recorded config.

    Raises:
        RecipeError: W&B is to be online and cannot be had.
    """

    def __init__(self, recipe: Recipe, metrics: Path, scrub: Scrubber) -> None:
        import wandb

        self._metrics = metrics
        self._state_file = metrics.with_name("wandb.json")
        self._stages: set[str] = set()
        state = self._read_state()
        self._id, self._offset = str(state["id"]), int(state["offset"])
        config = json.loads(scrub(json.dumps(recipe_record(recipe))))
        settings = wandb.Settings(console="off", disable_code=True, disable_git=True, x_disable_meta=True, silent=True)
        mode = tracking_mode(recipe.wandb)
        try:
            self._run = wandb.init(
                project=recipe.wandb.project,
                name=recipe.name,
                id=self._id,
                resume="allow",
                mode=mode,
                dir=str(metrics.parent),
                config=config,
                settings=settings,
            )
        except wandb.errors.Error as error:
            remedy = "check the key and the network, or set wandb.mode=offline"
            raise RecipeError(f"W&B ({mode}): {error}", where="wandb", remedy=remedy) from error

    def _read_state(self) -> dict[str, Any]:
        if self._state_file.is_file():
            return dict(json.loads(self._state_file.read_text(encoding="utf-8")))
        return {"id": secrets.token_hex(4), "offset": 0}

    def poll(self) -> None:
        """Send what was appended to the file since the last call."""
        with open(self._metrics, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        if not end:
            return
        for line in data[:end].splitlines():
            self._send(json.loads(line))
        self._offset += end
        write_json(self._state_file, {"id": self._id, "offset": self._offset})

    def _send(self, record: dict[str, Any]) -> None:
        stage, step = str(record.pop("stage")), record.pop("step", None)
        if stage not in self._stages:
            self._stages.add(stage)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        figures = {f"{stage}/{k}": v for k, v in record.items() if isinstance(v, int | float)}
        if step is not None:
            figures[f"{stage}/step"] = step
        self._run.log(figures)

    def close(self, exit_code: int) -> None:
        """Send the rest and end the W&B run."""
        self.poll()
        self._run.finish(exit_code=exit_code)


def tracking_mode(config: WandbConfig) -> Literal["online", "offline"]:
    """``online`` or ``offline``: a key decides where the recipe leaves it open.

    Raises:
        RecipeError: ``online`` is asked for and there is no key.
    """
    has_key = bool(os.environ.get("WANDB_API_KEY")) or _netrc_names_wandb()
    if config.mode == "online" and not has_key:
        raise RecipeError("wandb.mode is online and there is no key", remedy="set WANDB_API_KEY, or wandb.mode=offline")
    if config.mode != "auto":
        return config.mode
    return "online" if has_key else "offline"


def _netrc_names_wandb() -> bool:
    path = Path.home() / ".netrc"
    return path.is_file() and "api.wandb.ai" in path.read_text(encoding="utf-8")
