"""The cache key changes with everything the result depends on, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.recipe.fingerprint import fingerprint
from copilot.recipe.loader import load_recipe
from copilot.recipe.plan import make_plan

Write = Callable[..., Path]
ONE = {"id": "one", "type": "lines"}
TWO = {"id": "two", "type": "lines", "after": "one"}
OTHER = {"id": "other", "type": "lines", "count": 9}


def keys(path: Path, *overrides: str) -> dict[str, str]:
    return {planned.config.id: planned.key for planned in make_plan(load_recipe(path, overrides))}


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("one.count=4", {"one", "two"}),
        ("two.count=4", {"two"}),
        ("seed=1", {"one", "two", "other"}),
        ("model.dtype=float32", {"one", "two", "other"}),
        ("name=else", set()),
        ("wandb.project=p", set()),
        ("one.count=3", set()),
    ],
)
def test_what_changes_a_key(write_recipe: Write, override: str, changed: set[str]) -> None:
    path = write_recipe(ONE, TWO, OTHER)
    before, after = keys(path), keys(path, override)
    assert {stage for stage in before if before[stage] != after[stage]} == changed


def test_content_of_named_files_counts(write_recipe: Write, tmp_path: Path) -> None:
    data = tmp_path / "tasks.jsonl"
    data.write_text("1\n")
    path = write_recipe({**ONE, "source": str(data)}, TWO, OTHER)
    before = keys(path)
    data.write_text("2\n")
    after = keys(path)
    assert {stage for stage in before if before[stage] != after[stage]} == {"one", "two"}


def test_the_model_s_content_counts(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe(ONE)
    before = keys(path)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"0" * 100)
    assert keys(path) != before


@settings(max_examples=30, deadline=None)
@given(block=st.integers(0, 31))
def test_large_weights_that_differ_all_over_differ(tmp_path_factory: pytest.TempPathFactory, block: int) -> None:
    folder = tmp_path_factory.mktemp("weights")
    size = 5 << 20
    (folder / "a").write_bytes(bytes(size))
    changed = bytearray(size)
    changed[block * (size - (1 << 16)) // 31] = 1
    (folder / "b").write_bytes(changed)
    assert fingerprint(str(folder / "a")) != fingerprint(str(folder / "b"))


def test_a_name_is_its_own_fingerprint() -> None:
    assert fingerprint("org/model") == "name:org/model"
