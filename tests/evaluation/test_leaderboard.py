"""The leaderboard from trajectories: rates, cost, pairs in closed form; pages; the models file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.data.trajectory import Failure, Outcome, StopReason, Trajectory, Turn
from copilot.envs.actions import ExecuteCode, Feedback
from copilot.errors import DataError, RecipeError
from copilot.evaluation.bench import BenchModel, BenchSettings, model_recipe, read_models
from copilot.evaluation.leaderboard import Entry, Price, leaderboard
from copilot.evaluation.permutation import holm, sign_flip_p
from copilot.evaluation.published import published
from copilot.evaluation.summary import error_type
from copilot.report.leaderboard import PUBLISHED_NOTE, leaderboard_plots, write_leaderboard
from copilot.stages.evaluate import EvaluateConfig


def played(task: int, attempt: int, right: bool, *, error: str = "", masked: bool = False) -> Trajectory:
    turn = Turn(
        index=0,
        text="x",
        action=ExecuteCode(code="x"),
        feedback=Feedback(text="", status="error" if error else "ok", error_type=error),
        prompt_tokens=1000,
        completion_tokens=200,
    )
    return Trajectory(
        task_id=f"t{task}",
        attempt=attempt,
        source="demo",
        policy="p",
        protocol="markdown",
        prompt=(),
        turns=(turn,),
        outcome=Outcome(submitted=not error, submitted_correct=right, any_attempt_correct=right),
        stop_reason=StopReason.SUBMITTED,
        failure=Failure(boundary="server", message="gone") if masked else None,
    )


def entry(model: str, right: Callable[[int], bool], *, attempts: int = 2, **rest: Any) -> Entry:
    episodes = [played(task, attempt, right(task)) for task in range(8) for attempt in range(attempts)]
    return Entry(model, "demo", "markdown", episodes, **rest)


def test_rates_cost_and_pass_curve() -> None:
    half = Entry("half", "demo", "json", [played(t, a, a == 0) for t in range(8) for a in range(2)], Price(2.0, 10.0))
    (row,) = leaderboard([half], k=2)["rows"]
    assert row["submitted"]["value"] == 0.5
    assert row["pass_at"] == {1: 0.5, 2: 1.0}
    assert row["cost"] == pytest.approx((1000 * 2 + 200 * 10) / 1e6)
    assert (row["prompt_tokens"], row["completion_tokens"], row["masked"]) == (1000, 200, 0)
    assert row["errors"] == {"solved": 8, "wrong_answer": 8}


def test_masked_episodes_are_counted_and_left_out() -> None:
    episodes = [played(0, 0, True), played(0, 1, False, masked=True)]
    (row,) = leaderboard([Entry("m", "demo", "json", episodes)], k=2)["rows"]
    assert (row["episodes"], row["masked"], row["submitted"]["value"]) == (1, 1, 1.0)
    assert row["pass_at"] == {1: 1.0}
    with pytest.raises(DataError, match="all 1 are masked"):
        leaderboard([Entry("m", "demo", "json", [played(0, 0, False, masked=True)])], k=1)


def test_pairs_are_tested_on_shared_tasks_and_corrected() -> None:
    board = leaderboard(
        [entry("bad", lambda t: t < 0), entry("good", lambda t: t < 8), entry("ok", lambda t: t < 6)], k=2
    )
    assert [row["model"] for row in board["rows"]] == ["good", "ok", "bad"]
    pairs = {(pair["better"], pair["worse"]): pair for pair in board["pairs"]}
    assert pairs["good", "bad"]["points"] == 100
    assert pairs["good", "bad"]["p"] == pytest.approx(2 / 2**8)
    assert pairs["good", "bad"]["p_adjusted"] == pytest.approx(3 * 2 / 2**8)
    assert pairs["good", "ok"]["p"] == pytest.approx(2 / 2**2)


def test_sign_flips_in_closed_form() -> None:
    assert sign_flip_p([1.0] * 5) == pytest.approx(2 / 32)
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p([1.0, -1.0]) == 1
    assert sign_flip_p([0.5] * 40) == pytest.approx(0, abs=1e-3)
    assert sign_flip_p([1.0, -1.0] * 20) > 0.9


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    ordered = [q for _, q in sorted(zip(values, adjusted, strict=True))]
    assert ordered == sorted(ordered)
    assert min(adjusted) == pytest.approx(min(1, len(values) * min(values)))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("FileNotFoundError", "io"),
        ("SyntaxError", "syntax"),
        ("KeyError", "runtime"),
        ("sqlite3.OperationalError", "runtime"),
    ],
)
def test_error_taxonomy(error: str, kind: str) -> None:
    assert error_type(played(0, 0, False, error=error)) == kind


def test_pages_mark_published_figures_as_published(tmp_path: Path) -> None:
    board = leaderboard([entry("small|odd", lambda t: t < 2), entry("big", lambda t: t < 8)], k=2)
    page, text = write_leaderboard(tmp_path, board, shares={"big": 0.5}, made_by="med-copilot bench")
    for written in (page.read_text(), text.read_text()):
        assert PUBLISHED_NOTE in written
        assert "med-copilot bench" in written
        assert "Qwen2.5-14B-It +SFT+GRPO" in written
    assert "| small\\|odd |" in text.read_text()
    assert page.read_text().count("data:image/png;base64,") == 3
    assert all(data.startswith(b"\x89PNG") for data in leaderboard_plots(board, {"big": 0.5}).values())


def test_published_rows_are_the_papers() -> None:
    rows = {row.model: row for row in published()}
    assert len(rows) == 31
    assert rows["gpt-4.1"].average == 70.15
    assert rows["Qwen2.5-7B-It +SFT"].rates["MedCalcBench"] == 89.06
    for row in rows.values():
        assert len(row.rates) == 8
        assert row.average == pytest.approx(sum(row.rates.values()) / 8, abs=0.06)


MODELS = """
models:
  - {name: Small One, path: tiny, policy: {type: transformers}, protocols: [markdown]}
  - {name: api, policy: {type: openai, model: gpt-x}, price: {prompt: 1, completion: 4}}
"""


def test_a_models_file_becomes_a_recipe_per_model(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(MODELS)
    small, api = read_models(path)
    recipe = model_recipe(small, BenchSettings(suites=["starter"], splits=["valid"], attempts=4, limit=8), tmp_path)
    (stage,) = recipe.typed_stages()
    assert isinstance(stage, EvaluateConfig)
    assert (recipe.name, stage.id, stage.attempts, stage.limit) == ("small-one", "starter", 4, 8)
    assert api.price is not None
    assert model_recipe(api, BenchSettings(suites=["starter"]), tmp_path).model.path == "tiny"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("models: []", RecipeError, "at least 1"),
        ("models: [{name: a}]", RecipeError, "name a path"),
        ("models: [{name: a, path: x}, {name: A, path: y}]", RecipeError, "same name"),
        ("models: [{name: a, pth: x}]", RecipeError, "did you mean 'path'"),
        ("a: [", DataError, "not YAML"),
    ],
)
def test_bad_models_files_are_refused(tmp_path: Path, text: str, error: type[Exception], words: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises(error, match=words):
        read_models(path)
    with pytest.raises(DataError, match="no such models file"):
        read_models(tmp_path / "none.yaml")


def test_an_api_model_needs_no_path() -> None:
    assert BenchModel.model_validate({"name": "a", "policy": {"type": "openai", "model": "m"}}).path == ""
