"""The cache key of a stage: a hash of everything its result depends on.

Key = config without its id, keys of the stages it reads, the model's and every named file's fingerprint, the seed,
and the stage's code version. Not in it: where and on how many processes it runs. Weights are identified by size,
header and evenly spaced blocks, so that two trainings of one architecture differ and 15 GB are not read.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from copilot.stages.base import Stage, StageConfig

_BLOCK = 1 << 16
_BLOCKS = 32
_WHOLE = 4 << 20
_WRITTEN_KEYS = ("results",)  # config keys that name what a stage writes
_SUITE_KEYS = ("suite", "suites", "held_out")  # config keys that hold names of suites


def stage_key(config: StageConfig, stage: Stage[Any], *, upstream: dict[str, str], model: str, seed: int) -> str:
    """SHA-256 (hex) that changes when the stage's result could.

    Args:
        config: The stage.
        stage: Its registration, for the code version.
        upstream: Keys of the stages it reads, by id.
        model: Fingerprint of the recipe's model (:func:`fingerprint`).
        seed: The recipe's seed.
    """
    raw = config.model_dump(mode="json", exclude={"id"})
    named = {where: fingerprint(value) for where, value in sorted(_paths(raw, "", set(upstream)).items())}
    parts = {
        "version": stage.version,
        "config": raw,
        "upstream": upstream,
        "model": model,
        "seed": seed,
        "files": named,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def fingerprint(name_or_path: str) -> str:
    """What identifies a model, suite or file: its content if it is on this disk, else its name (``name:...``)."""
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return f"file:{_file_hash(path)}"
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.is_file() and not _hidden(f.relative_to(path)))
        listing = json.dumps([[str(f.relative_to(path)), _file_hash(f)] for f in files])
        return f"folder:{hashlib.sha256(listing.encode()).hexdigest()}"
    return f"name:{name_or_path}"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _file_hash(path: Path) -> str:
    """Whole content up to 4 MiB; of larger files the size and 32 blocks of 64 KiB, first and last among them."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
        else:
            for index in range(_BLOCKS):
                file.seek(index * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _paths(value: Any, where: str, stage_ids: set[str]) -> dict[str, str]:
    """Config values that name a file, a folder or a shipped suite: dotted key -> path."""
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    elif isinstance(value, str) and value and value not in stage_ids:
        return _named_file(value, where)
    else:
        return {}
    found: dict[str, str] = {}
    for key, item in items:
        found |= _paths(item, f"{where}.{key}" if where else key, stage_ids)
    return found


def _named_file(value: str, where: str) -> dict[str, str]:
    parts = where.split(".")
    if any(part in _WRITTEN_KEYS for part in parts):
        return {}
    if any(part in _SUITE_KEYS for part in parts):
        from copilot.envs.suites import find_suite

        return {where: str(find_suite(value))}
    looks_like_a_path = "/" in value or value.endswith((".jsonl", ".json", ".yaml"))
    return {where: value} if looks_like_a_path and "\n" not in value and Path(value).expanduser().exists() else {}
