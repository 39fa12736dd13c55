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
    """A row of panels per recipe, a line per run: the latest in colour, earlier ones grey, numbered as in the table."""
    figure, first = figure_and_axes(11.0, 5.6)
    first.remove()
    names = list(dict.fromkeys(run["name"] for run in runs))
    panels = figure.subplots(len(names), len(SHOWN), sharex=True, sharey="col", squeeze=False)
    for row, name in zip(panels, names, strict=True):
        numbered = [(number, run) for number, run in enumerate(runs, start=1) if run["name"] == name]
        for axes, (key, title) in zip(row, SHOWN.items(), strict=True):
            for number, run in numbered:
                latest = run is numbered[-1][1]
                points = [(step["step"], step[key]) for step in run["steps"] if key in step]
                colour, width = (COLOURS[1], 2.2) if latest else ("#b4bcc6", 1.1)
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, zorder=2 + latest)
                axes.annotate(
                    str(number), points[-1], (4, 0), textcoords="offset points", va="center", fontsize=7, color=colour
                )
            axes.set_title(f"{name}: {title}", fontsize=9)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    for axes in panels[-1]:
        axes.set_xlabel("step", fontsize=8)
        axes.set_ylim(bottom=0)
    figure.tight_layout()
    return png(figure)


if __name__ == "__main__":
    main()
