"""Selection by closed-form examples."""

import pytest

from copilot.data.mixture import select
from copilot.data.rows import Row


def rows(*specs: tuple[str, str, str]) -> list[Row]:
    return [
        Row({"task_id": task}, ((store, task, i),), store, "demo", template, 1, 1)
        for i, (store, task, template) in enumerate(specs)
    ]


def test_max_per_task_keeps_the_builders_first_ones() -> None:
    given = rows(("a", "x", "t"), ("a", "x", "t"), ("b", "x", "t"), ("a", "y", "t"))
    picked = select(given, max_per_task=1)
    assert picked.rows == [given[0], given[2], given[3]]
    assert picked.rows_dropped == {"max per task": 1}
    assert picked.reasons == {("a", "x", 1): "max per task"}


def test_max_per_template_and_limit_spread_over_templates() -> None:
    given = rows(*[("a", f"x{i}", "common") for i in range(50)], ("a", "y", "rare"), ("a", "z", "other"))
    picked = select(given, max_per_template=5, limit=4)
    assert sorted(row.template for row in picked.rows) == ["common", "common", "other", "rare"]
    assert picked.rows_dropped == {"max per template": 45, "limit": 3}
    assert [row.parents[0][2] for row in picked.rows] == sorted(row.parents[0][2] for row in picked.rows)


def test_the_seed_decides() -> None:
    given = rows(*[("a", f"x{i}", "t") for i in range(30)])
    assert select(given, limit=5, seed=1).rows == select(given, limit=5, seed=1).rows
    assert select(given, limit=5, seed=1).rows != select(given, limit=5, seed=2).rows


@pytest.mark.parametrize(("limit", "expected"), [(None, (30, 10)), (20, (15, 5)), (1000, (30, 10))])
def test_shares_are_kept_at_every_size(limit: int | None, expected: tuple[int, int]) -> None:
    given = rows(*[("on", f"x{i}", "t") for i in range(30)], *[("off", f"x{i}", "t") for i in range(90)])
    picked = select(given, shares={"on": 0.75, "off": 0.25}, limit=limit)
    assert tuple(sum(row.store == name for row in picked.rows) for name in ("on", "off")) == expected


def test_a_store_without_rows_leaves_nothing() -> None:
    picked = select(rows(("on", "x", "t")), shares={"on": 0.5, "off": 0.5})
    assert picked.rows == []
    assert picked.rows_dropped == {"share": 1}
