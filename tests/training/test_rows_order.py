import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.errors import DataError, EmptyDatasetError, RecipeError
from copilot.training.config import TrainingConfig
from copilot.training.order import row_order
from copilot.training.rows import load_rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@given(
    lengths=st.lists(st.integers(1, 99), min_size=1, max_size=40),
    batch=st.integers(1, 9),
    steps=st.integers(1, 12),
    seed=st.integers(0, 5),
)
def test_every_step_is_full_and_every_epoch_whole(lengths: list[int], batch: int, steps: int, seed: int) -> None:
    plan = row_order(lengths, batch_size=batch, steps=steps, seed=seed)
    assert len(plan) == batch * steps
    uses = [plan.count(row) for row in range(len(lengths))]
    assert max(uses) - min(uses) <= 1, "no row is seen twice more often than another"
    for start in range(0, len(plan), batch):
        step = [lengths[row] for row in plan[start : start + batch]]
        assert step == sorted(step)
    assert plan == row_order(lengths, batch_size=batch, steps=steps, seed=seed)


@given(batch=st.integers(1, 64), micro=st.integers(1, 64), world=st.integers(1, 8))
def test_micro_batches_make_up_the_step_exactly(batch: int, micro: int, world: int) -> None:
    config = TrainingConfig(batch_size=batch, micro_batch_size=micro)
    if batch % world:
        with pytest.raises(RecipeError, match="not a multiple"):
            config.micro_batch(world)
    else:
        rows, accumulation = config.micro_batch(world)
        assert rows * accumulation * world == batch
        assert rows <= micro


def test_long_rows_are_dropped_or_cut_and_counted(tmp_path: Path) -> None:
    rows = [
        {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]},
        {"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, 3, 4, 5]},
        {"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, -100, -100, 5]},
    ]
    path = write(tmp_path / "rows.jsonl", rows)
    kept, report = load_rows(path, "sft", max_tokens=4, too_long="drop")
    assert [row["input_ids"] for row in kept] == [[1, 2, 3]]
    assert report.dropped == {"longer than 4 tokens": 2}
    assert (report.read, report.kept, report.tokens, report.trained_tokens) == (3, 1, 3, 2)
    kept, report = load_rows(path, "sft", max_tokens=4, too_long="truncate")
    assert [row["labels"] for row in kept] == [[-100, 2, 3], [-100, -100, 3, 4]]
    assert report.truncated == 1
    assert report.dropped == {"nothing to train on after the cut": 1}


def test_preference_rows_are_cut_in_the_completion_only(tmp_path: Path) -> None:
    row = {
        "prompt_ids": [1, 2, 3],
        "chosen_ids": [4, 5],
        "chosen_mask": [1, 1],
        "rejected_ids": [6],
        "rejected_mask": [1],
    }
    path = write(tmp_path / "rows.jsonl", [row])
    kept, _ = load_rows(path, "dpo", max_tokens=4, too_long="truncate")
    assert kept[0]["prompt_ids"] == [1, 2, 3]
    assert kept[0]["chosen_ids"] == [4]
    assert kept[0]["chosen_mask"] == [1]
    assert kept[0]["rejected_ids"] == [6]


def test_an_empty_result_carries_the_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"input_ids": [1, 2], "labels": [-100, -100]}])
    with pytest.raises(EmptyDatasetError, match="nothing to train on"):
        load_rows(path, "sft", max_tokens=10, too_long="drop")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"input_ids": [1]', "not JSON"),
        ('{"input_ids": [1, 2], "labels": [1]}', "differ in length"),
        ('{"prompt_ids": [1]}', "not a sft row"),
    ],
)
def test_a_bad_row_names_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input_ids": [1, 2], "labels": [-100, 2]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        load_rows(path, "sft", max_tokens=10, too_long="drop")
    assert str(error.value.where).endswith("rows.jsonl:2")
