"""The curves of all online runs on CPUs, good and bad, in one figure and one table.

    python benchmarks/online_runs.py --add runs/grpo_cpu/grpo-KEY --name grpo_cpu --commit 6443581 --note "..."
    python benchmarks/online_runs.py           # docs/img/online_runs.png from results/online_runs.json

A run is kept by its steps' records, not by hand; its lift, where it was evaluated, comes from its results file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from copilot.recipe.folder import write_json
from copilot.report.plots import COLOURS, figure_and_axes, png
from copilot.report.provenance import ROOT

RUNS = ROOT / "results" / "online_runs.json"
FIGURE = ROOT / "docs" / "img" / "online_runs.png"
SHOWN = {
    "reward": "mean reward of the step's episodes",
    "entropy": "entropy, nats per token",
    "kl": "KL to the start, nats per token",
}
KEPT = (*SHOWN, "step", "turns", "junk_share", "groups_flat", "episodes", "explained_variance")


def main() -> None:
    """Add a run, or draw all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", type=Path, help="folder of the run's online stage")
    parser.add_argument("--name", help="recipe")
    parser.add_argument("--commit", help="of the code that ran")
    parser.add_argument("--note", default="", help="what sets it apart")
    parser.add_argument("--results", type=Path, help="its results file, if it was evaluated")
    options = parser.parse_args()
    runs: list[dict[str, Any]] = json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.is_file() else []
    if options.add:
        runs.append(read_run(options.add, options))
        write_json(RUNS, runs)
    FIGURE.write_bytes(draw(runs))
    print(f"{len(runs)} runs in {FIGURE.relative_to(ROOT)}")


def read_run(stage: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What is kept of a run: settings that matter, a record per step, and its lift."""
    lines = (stage / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [{key: record[key] for key in KEPT if key in record} for record in map(json.loads, lines)]
    summary = json.loads(options.results.read_text(encoding="utf-8"))["summary"] if options.results else None
    return {
        "name": options.name,
        "commit": options.commit,
        "note": options.note,
        "lift": summary and {key: summary[f"lift_{key}"] for key in ("points", "ci_low", "ci_high")},
        "test_tasks": summary and summary["test_tasks"],
        "steps": steps,
    }


def draw(runs: list[dict[str, Any]]) -> bytes:
    """A panel per figure, a line per run; runs are numbered as in the table."""
    figure, first = figure_and_axes(11.0, 3.2)
    first.remove()
    panels = figure.subplots(1, len(SHOWN))
    for axes, (key, title) in zip(panels, SHOWN.items(), strict=True):
        for number, run in enumerate(runs):
            points = [(step["step"], step[key]) for step in run["steps"] if key in step]
            label = f"{number + 1}: {run['name']}"
            colour = COLOURS[(1 + number) % len(COLOURS)]
            style = "--" if run["name"].startswith("ppo") else "-"
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=1.8, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    panels[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure.tight_layout()
    return png(figure)


if __name__ == "__main__":
    main()
