"""The tracker mirrors ``metrics.jsonl``: every figure once, also over a kill."""

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.errors import RecipeError
from copilot.recipe.loader import load_recipe
from copilot.recipe.schema import WandbConfig
from copilot.recipe.secrets import Scrubber
from copilot.recipe.tracking import Tracker, tracking_mode

Write = Callable[..., Path]


def chunks(path: Path) -> Iterator[bytes]:
    """The records of a W&B file: LevelDB's log format (32 KiB blocks of crc, length, type, data) after 7 bytes."""
    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def logged(folder: Path) -> list[dict[str, Any]]:
    """The history records of all offline runs in a folder."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in chunks(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                found.append({(i.key or ".".join(i.nested_key)): json.loads(i.value_json) for i in items})
    return found


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_every_figure_is_mirrored_once(write_recipe: Write, tmp_path: Path, no_key: None) -> None:
    recipe = load_recipe(write_recipe({"id": "one", "type": "lines"}, wandb={"project": "p"}))
    metrics = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"stage": "one", "step": n, "loss": n / 2, "note": "text"}) + "\n" for n in range(4)]
    metrics.write_text("".join(lines[:2]) + '{"stage": "one", "st')
    first = Tracker(recipe, metrics, Scrubber({}))
    first.poll()
    first.close(1)
    metrics.write_text("".join(lines[:3]))
    second = Tracker(recipe, metrics, Scrubber({}))
    with open(metrics, "a") as file:
        file.write(lines[3])
    second.close(0)
    records = [r for r in logged(tmp_path) if "one/step" in r]
    assert Counter(r["one/step"] for r in records) == Counter(range(4))
    assert all(r["one/loss"] == r["one/step"] / 2 for r in records)
    assert not any("one/note" in r for r in records)


def test_the_mode_follows_the_key(no_key: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_mode(WandbConfig(project="p")) == "offline"
    with pytest.raises(RecipeError, match="no key"):
        tracking_mode(WandbConfig(project="p", mode="online"))
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert tracking_mode(WandbConfig(project="p")) == "online"
    assert tracking_mode(WandbConfig(project="p", mode="offline")) == "offline"


def test_a_run_is_tracked_and_its_secrets_are_not(
    write_recipe: Write, med_copilot: Callable[..., Any], tmp_path: Path, no_key: None
) -> None:
    secret = "s3cr3t-0123456789"
    path = write_recipe({"id": "one", "type": "lines", "source": secret}, wandb={"project": "p"})
    done = med_copilot("run", path, SOME_TOKEN=secret)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "demo"
    assert [r["one/value"] for r in logged(run) if "one/value" in r] == [0.0, 1.0, 2.0]
    assert not [f for f in run.rglob("*") if f.is_file() and secret.encode() in f.read_bytes()]
