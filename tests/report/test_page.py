"""The page is made from a run folder's files alone, escapes what policies wrote, and survives a half-written run."""

import json
from pathlib import Path
from typing import Any

from copilot.evaluation.statistics import wilson
from copilot.report.page import evaluation_tables, read_metrics, write_report
from copilot.report.results import summary_figures, write_results
from copilot.report.terminal import rates_table


def rate(successes: int, total: int) -> dict[str, Any]:
    r = wilson(successes, total)
    values = {"rate": r.value, "low": r.low, "high": r.high}
    return {**{k: 100 * v for k, v in values.items()}, "successes": successes, "total": total}


def summary(successes: int, total: int) -> dict[str, Any]:
    return {
        "episodes": total, "masked": 0, "submitted": rate(successes, total), "any_attempt": rate(successes, total),
        "valid_action_rate": 90.0, "submit_rate": 80.0, "turns": 2.0, "prompt_tokens": 100.0,
        "completion_tokens": 50.0, "seconds": 1.0,
        "errors": {"solved": successes, "wrong_answer": total - successes},
    }  # fmt: skip


def evaluation() -> dict[str, Any]:
    lift = {"points": 50.0, "low": 20.0, "high": 70.0, "p_value": 0.001, "wins": 5, "losses": 0, "tasks": 10}
    subjects = {
        label: {
            "protocol": "markdown", "by_protocol": {"markdown": summary(k, 10), "json": summary(0, 10)},
            "overall": summary(k, 10), "by_split": {"test_seen": summary(k, 10)}, "by_source": {"s": summary(k, 10)},
            "by_category": {"join": summary(k, 10)},
        }
        for label, k in (("base", 1), ("sft", 6))
    }  # fmt: skip
    sample = {
        "policy": "sft", "task_id": "s/1", "correct": False, "error": "wrong answer", "reason": "not equal",
        "messages": [{"role": "user", "text": "q"}],
        "turns": [{"text": "<script>alert(1)</script>", "feedback": "ok", "status": "ok"}],
    }  # fmt: skip
    pair = {"old": "base", "new": "sft", "overall": lift, "by_split": {"test_seen": lift}, "spoke_protocol": lift}
    return {
        "model": "tiny", "tasks": 10, "attempts": 1, "subjects": subjects, "comparisons": [pair], "samples": [sample],
    }  # fmt: skip


def test_page_holds_every_figure_and_escapes_what_policies_wrote(tmp_path: Path) -> None:
    lines = [json.dumps({"stage": "sft", "step": i, "loss": 1 / (i + 1)}) for i in range(30)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"stage": "sft", "st', encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("name: quickstart\n", encoding="utf-8")
    page = write_report(tmp_path, evaluation=evaluation(), builds={"rows": {"input": 7, "dropped": {"success": 2}}})
    text = page.read_text(encoding="utf-8")
    assert "60.0 % [31.3, 83.2]" in text
    assert "+50.0" in text
    assert "[+20.0, +70.0]" in text
    assert "dropped: success" in text
    assert "name: quickstart" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    plots = {path.name: path.read_bytes()[:8] for path in (tmp_path / "plots").iterdir()}
    assert set(plots) == {"success.png", "errors.png", "loss.png"}
    assert set(plots.values()) == {b"\x89PNG\r\n\x1a\n"}


def test_a_stage_that_went_back_has_one_curve(tmp_path: Path) -> None:
    """Killed after step 3 and resumed from 2; then run anew with other settings, for two steps."""
    steps = [("a", 1), ("a", 2), ("sft", 9), ("a", 3), ("b", 3), ("b", 4), ("new", 1), ("new", 2)]
    lines = [{"stage": "sft" if name == "sft" else "grpo", "step": step, "reward": name} for name, step in steps]
    lines.insert(0, {"stage": "grpo", "step": None, "engine": "replicated"})
    path = tmp_path / "metrics.jsonl"

    def rewards(count: int) -> list[str]:
        path.write_text("\n".join(map(json.dumps, lines[:count])) + "\n", encoding="utf-8")
        return [record["reward"] for record in read_metrics(path) if record["stage"] == "grpo" and record["step"]]

    assert rewards(7) == ["a", "a", "b", "b"]
    assert rewards(len(lines)) == ["new", "new"]


def test_a_run_without_evaluation_has_a_page(tmp_path: Path) -> None:
    assert "No evaluation yet" in write_report(tmp_path, evaluation=None, builds={}).read_text(encoding="utf-8")


def test_terminal_shows_the_first_tables_of_the_page() -> None:
    titles = [table.title for table in rates_table(evaluation())]
    assert titles == [table.title for table in evaluation_tables(evaluation())[:2]]


def test_results_name_each_lift_with_its_interval(tmp_path: Path) -> None:
    figures = summary_figures(evaluation())
    assert figures["sft_lift_points"] == 50.0
    assert figures["sft_lift_ci_low"] == 20.0
    assert figures["sft_test_seen_lift_points"] == 50.0
    assert figures["sft_spoke_protocol_lift_ci_high"] == 70.0
    path = write_results(tmp_path / "results" / "x.json", evaluation(), seed=3, run_folder=tmp_path)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert {"command", "commit", "machine", "seed", "date", "summary", "rows"} <= record.keys()
    assert record["seed"] == 3
    assert len(record["rows"]) == 4
