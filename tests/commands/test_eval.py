"""``med-copilot eval`` is a recipe like any other: validated, cached, resumed."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from copilot.commands.eval import COMMAND, recipe_for
from copilot.errors import RecipeError
from copilot.recipe.loader import validate
from copilot.stages.evaluate import EvaluateConfig


def options(*arguments: str) -> dict[str, Any]:
    context = COMMAND.make_context("eval", list(arguments))
    return dict(context.params)


def test_source_and_split_become_an_evaluate_stage() -> None:
    raw = recipe_for(options("--model", "tiny", "--source", "ehrsql2024", "--split", "valid", "--limit", "20"))
    evaluate, report = validate(raw, where="test").typed_stages()
    assert isinstance(evaluate, EvaluateConfig)
    assert (evaluate.sources[0].source, evaluate.sources[0].split, evaluate.limit) == ("ehrsql2024", "valid", 20)
    assert evaluate.subjects[0].protocols == ["markdown", "json", "tools"]
    assert evaluate.rollout.prompt.examples == 1
    assert report.upstream() == ["evaluation"]


def test_suite_file_and_trained_model(tmp_path: Path) -> None:
    suite = tmp_path / "mine.jsonl"
    raw = recipe_for(options("--model", "tiny", "--suite", str(suite), "--brief", "--protocol", "markdown"))
    evaluate = validate(raw, where="test").typed_stages()[0]
    assert isinstance(evaluate, EvaluateConfig)
    assert evaluate.suite == str(suite)
    assert evaluate.rollout.prompt.brief
    assert not evaluate.rollout.prompt.context
    assert raw["name"] == "eval-tiny-mine"


@pytest.mark.parametrize("tasks", [[], ["--source", "ehr_sql", "--suite", "starter"]])
def test_tasks_must_be_named_once(tasks: list[str]) -> None:
    with pytest.raises(RecipeError, match="tasks are not named"):
        recipe_for(options("--model", "tiny", *tasks))


def test_runs_a_tiny_model_offline_and_again_for_free(tmp_path: Path) -> None:
    arguments = [
        "--model", "tiny", "--engine", "transformers", "--suite", "starter", "--split", "test_seen", "--limit", "3",
        "--protocol", "markdown", "--max-turns", "2", "--max-tokens", "8", "--brief", "--output", str(tmp_path),
    ]  # fmt: skip
    runner = CliRunner()
    first = runner.invoke(COMMAND, arguments)
    assert first.exit_code == 0, first.output
    run = tmp_path / "eval-tiny-starter"
    assert (run / "report.html").is_file()
    (evaluation,) = run.glob("evaluation-*/evaluation.json")
    before = evaluation.stat().st_mtime_ns
    assert runner.invoke(COMMAND, arguments).exit_code == 0
    assert evaluation.stat().st_mtime_ns == before
