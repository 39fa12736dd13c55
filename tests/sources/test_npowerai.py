"""Power and sample size: published values, program against formula, splits that share nothing."""

import random
from itertools import islice
from typing import Any

import pytest

from copilot.envs.sources.npowerai import SOURCE
from copilot.envs.sources.npowerai.designs import DESIGNS
from copilot.envs.sources.npowerai.powers import sample_size
from copilot.envs.sources.npowerai.records import Design
from copilot.envs.sources.npowerai.source import program
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import IntegerAnswer, RealAnswer
from copilot.reward.graders import grade

BY_NAME = {design.name: design for design in DESIGNS}
ALL = pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)

PUBLISHED = [
    ("two_means", {"delta": 0.5, "sd": 1, "alpha": 0.05}, 0.8, 64),  # Cohen 1988, table 2.4.1: d = 0.5
    ("two_means", {"delta": 0.8, "sd": 1, "alpha": 0.05}, 0.8, 26),
    ("paired_means", {"delta": 0.5, "sd": 1, "alpha": 0.05}, 0.8, 34),  # G*Power manual
    ("anova", {"groups": 3, "f": 0.25, "alpha": 0.05}, 0.8, 53),  # 159 in total
    ("regression", {"predictors": 2, "r2": 0.13043478, "alpha": 0.05}, 0.8, 68),  # f2 = 0.15
    ("correlation", {"r": 0.3, "alpha": 0.05}, 0.8, 85),  # Hulley et al., appendix 6C
    ("chi_square", {"df": 2, "w": 0.3, "alpha": 0.05}, 0.8, 108),
    ("two_proportions", {"p1": 0.4, "p2": 0.25, "alpha": 0.05}, 0.8, 152),  # Fleiss, without correction
    ("log_rank", {"hr": 0.5, "event": 1.0, "alpha": 0.05}, 0.8, 33),  # 66 events: 4 * 7.849 / ln(2)^2 = 65.3
    ("wilcoxon", {"better": 0.7, "alpha": 0.05}, 0.9, 44),  # 10.507 / (6 * 0.04) = 43.8
    ("noninferior", {"margin": 5, "sd": 10, "alpha": 0.025}, 0.9, 85),  # 2 * 10.507 * 4 = 84.06
]


@pytest.mark.parametrize(("name", "values", "target", "expected"), PUBLISHED)
def test_published_sample_sizes(name: str, values: dict[str, float], target: float, expected: int) -> None:
    assert sample_size(BY_NAME[name], values, target) == expected


def draw(design: Design, count: int) -> list[dict[str, float]]:
    rng = random.Random(design.name)
    drawn = ({name: rng.choice(choices) for name, choices in design.grid.items()} for _ in range(10_000))
    return list(islice(filter(design.possible, drawn), count))


def run(text: str) -> Any:
    world: dict[str, Any] = {}
    exec(text, world)  # our own program text
    return world["answer"]


@ALL
def test_program_and_formula_agree_and_power_rises(design: Design) -> None:
    for values in draw(design, 12):
        for n in (20, 21, 60):
            assert run(program(design, values, None, n)) == pytest.approx(design.power(n, values), rel=1e-9)
        assert design.power(design.smallest, values) <= design.power(40, values) <= design.power(400, values) <= 1


@ALL
def test_the_size_is_the_smallest_that_reaches_the_power(design: Design) -> None:
    found = [(v, n) for v in draw(design, 12) if (n := sample_size(design, v, 0.8, largest=400)) is not None]
    assert found
    for values, n in found:
        assert design.power(n, values) >= 0.8
        assert n == design.smallest or design.power(n - 1, values) < 0.8
        assert run(program(design, values, 0.8, n)) == n


def test_every_parameter_is_told() -> None:
    for design in DESIGNS:
        assert 1900 < design.citation.year < 2026
        for story in design.stories:
            assert all(f"{{{name}}}" in story for name in design.grid if name != "alpha"), story
            assert "{alpha}" not in story


def take(split: str, limit: int, seed: int = 0) -> list[Task]:
    return list(SOURCE.tasks(split, limit=limit, seed=seed))


def test_streams_are_seeded_prefixes_without_repeats() -> None:
    tasks = take("train", 150, 3)
    assert tasks[:40] == take("train", 40, 3)
    assert tasks[:40] != take("train", 40, 4)
    assert len({task.id for task in tasks}) == len({task.question for task in tasks}) == 150
    assert len({task.template for task in take("train", 600)}) >= 80


def test_splits_share_neither_instances_nor_held_out_designs() -> None:
    def keys(split: str, seed: int) -> set[str]:
        return {str((t.metadata["design"], t.metadata["parameters"])) for t in take(split, 150, seed)}

    train, valid, test = keys("train", 1), keys("valid", 2), keys("test_seen", 3)
    assert not train & valid
    assert not train & test
    assert not valid & test
    unseen = {t.metadata["design"] for t in take("test_unseen", 30)}
    assert unseen == {d.name for d in DESIGNS if d.held_out and not d.biostat}
    assert not unseen & {t.metadata["design"] for t in take("train", 60)}


def test_no_constant_and_no_number_of_the_question_passes() -> None:
    tasks = take("test_seen", 400)
    powers = [t for t in tasks if isinstance(t.reference.answer, RealAnswer)]
    sizes = [t for t in tasks if isinstance(t.reference.answer, IntegerAnswer)]
    assert min(len(powers), len(sizes)) > 100
    for constant in (0.05, 0.5, 0.8, 0.801, 0.9, 1.0):
        assert sum(grade(t.reference.answer, constant).correct for t in powers) <= 0.02 * len(powers)
    worst = max(sum(grade(t.reference.answer, n).correct for t in sizes) for n in range(5, 400))
    assert worst <= 0.02 * len(sizes)


def test_unknown_splits_are_named() -> None:
    with pytest.raises(DataError, match="test_seen"):
        SOURCE.tasks("test")
