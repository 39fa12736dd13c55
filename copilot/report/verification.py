"""A verifier's evaluation as tables and plots, from ``verification.json`` alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from copilot.report.plots import COLOURS, figure_and_axes, png
from copilot.report.tables import Cell, Table

_LABELS = {
    "learned": "learned score",
    "hybrid": "hybrid",
    "weighted": "votes weighted by score",
    "likely": "score and likelihood",
    "majority": "majority vote",
}


def verification_tables(found: dict[str, Any]) -> list[Table]:
    """Best@K by selector, ranking and calibration, parts."""
    return [_selectors_table(found), _ranking_table(found), *_part_tables(found)]


def verification_plots(found: dict[str, Any]) -> dict[str, tuple[str, bytes]]:
    """Name -> (title, PNG): Pass@K and Best@K against K, and the reliability diagram."""
    return {
        "best_of_k": ("Pass@K and Best@K", best_of_k_plot(found["curves"], found["overall"], found["k"])),
        "reliability": (
            "Reliability of the scores",
            reliability_plot(
                {
                    "as trained": found["uncalibrated"]["reliability"],
                    "after scaling": found["overall"]["reliability"],
                }
            ),
        ),
    }


def best_of_k_plot(curves: Mapping[str, Mapping[Any, float]], overall: dict[str, Any], k: int) -> bytes:
    """Success against the number of attempts, with intervals at K.

    Args:
        curves: ``pass`` and every selector: k -> mean (keys may be texts, as in JSON).
        overall: Figures with intervals.
        k: The largest number of attempts.
    """
    figure, axes = figure_and_axes(6.4, 3.8)
    best = {name: f"Best@K, {label}" for name, label in _LABELS.items() if name in curves}
    names = {"pass": "Pass@K (ceiling)", **best}
    ends = {"pass": overall["pass_at_k"], **{n: row["best_at_k"] for n, row in overall["selectors"].items()}}
    for i, (name, label) in enumerate(names.items()):
        points = sorted((int(size), 100 * value) for size, value in curves[name].items())
        colour = COLOURS[i]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3.5, linewidth=1.8, label=label)
        end = {key: 100 * ends[name][key] for key in ("value", "low", "high")}
        x = k * (1.03 + 0.02 * i)
        spread = [[end["value"] - end["low"]], [end["high"] - end["value"]]]
        axes.errorbar(x, end["value"], yerr=spread, color=colour, capsize=2, linewidth=1, marker="none")
    axes.set_xticks(sorted(int(size) for size in curves["majority"]))
    axes.set_xlabel("attempts per task, K (95 % intervals over tasks at the right)")
    axes.set_ylabel("submitted success, %")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return png(figure)


def reliability_plot(tables: Mapping[str, list[dict[str, float]]]) -> bytes:
    """Share of right attempts against mean score, the size of a point growing with its bin's attempts."""
    figure, axes = figure_and_axes(4.6, 4.0)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle="--", label="perfect")
    for i, (name, bins) in enumerate(tables.items()):
        full = [b for b in bins if b["count"]]
        total = sum(b["count"] for b in full)
        colour = COLOURS[2 - i]
        xs, ys = [b["score"] for b in full], [b["right"] for b in full]
        axes.plot(xs, ys, color=colour, linewidth=1, alpha=0.6)
        axes.scatter(xs, ys, s=[12 + 300 * b["count"] / total for b in full], color=colour, alpha=0.8, label=name)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("mean score of the bin")
    axes.set_ylabel("share that is right")
    legend = axes.legend(frameon=False, fontsize=8, loc="upper left")
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([30.0])  # type: ignore[union-attr]
    return png(figure)


def _selectors_table(found: dict[str, Any]) -> Table:
    overall, k = found["overall"], found["k"]
    rows = [
        [
            Cell("any attempt (Pass@K)"),
            Cell(_percent(overall["pass_at_1"])),
            Cell(_percent(overall["pass_at_k"])),
            Cell(""),
            Cell("100 %"),
        ]
    ]
    for name, row in overall["selectors"].items():
        margin = row["minus_majority"]
        tone = "up" if margin["low"] > 0 else "down" if margin["high"] < 0 else ""
        rows.append(
            [
                Cell(f"{_LABELS[name]} *" if name == found["by"] else _LABELS[name]),
                Cell(_percent(overall["pass_at_1"])),
                Cell(_percent(row["best_at_k"])),
                Cell("" if name == "majority" else _points(margin), tone if name != "majority" else ""),
                Cell("none" if row["headroom_captured"] is None else _percent(row["headroom_captured"])),
            ]
        )
    note = (
        f"{found['tasks']} held-out tasks with {k} attempts each ({found['left_out']} with fewer are left out); 95 % "
        "intervals over tasks. *: Best@K of the summary. Headroom: (Best@K - Pass@1) / (Pass@K - Pass@1)."
    )
    head = ["chosen by", "one attempt", f"one of {k}", "minus majority, points", "headroom captured"]
    return Table(f"Choosing one of {k} attempts", head, rows, note)


def _ranking_table(found: dict[str, Any]) -> Table:
    parts = {"all": found["overall"], **found["by_source"], **found["by_split"]}
    rows = [[Cell(name.replace("_", " ")), *_ranking_cells(part)] for name, part in parts.items()]
    before = found["uncalibrated"]["ece"]
    note = f"AUC over tasks with right and wrong attempts only. Calibration error before scaling: {before:.3f}."
    head = ["tasks", "mixed tasks", "attempts right", "AUC within task", "AUPRC", "calibration error"]
    return Table("Ranking and calibration", head, rows, note)


def _ranking_cells(part: dict[str, Any]) -> Iterator[Cell]:
    yield Cell(str(part["mixed_tasks"]))
    if not part["mixed_tasks"]:
        yield from [Cell("")] * 4
        return
    auc = part["within_task_auc"]
    yield Cell(f"{100 * part['base_rate']:.1f} %")
    yield Cell(f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]")
    yield Cell(f"{part['auprc']:.3f}")
    yield Cell(f"{part['ece']:.3f}")


def _part_tables(found: dict[str, Any]) -> Iterator[Table]:
    names = list(found["overall"]["selectors"])
    for key, title in (("by_source", "By source"), ("by_split", "By split")):
        rows = [
            [
                Cell(name.replace("_", " ")),
                Cell(_percent(part["pass_at_1"])),
                Cell(_percent(part["pass_at_k"])),
                *(Cell(_percent(part["selectors"][s]["best_at_k"])) for s in names),
            ]
            for name, part in found[key].items()
            if part["mixed_tasks"]
        ]
        if rows:
            head = ["", "Pass@1", "Pass@K", *(_LABELS[s] for s in names)]
            yield Table(f"Best of {found['k']}: {title.lower()}", head, rows)


def _percent(interval: dict[str, float]) -> str:
    return f"{100 * interval['value']:.1f} % [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _points(interval: dict[str, float]) -> str:
    return f"{100 * interval['value']:+.1f} [{100 * interval['low']:+.1f}, {100 * interval['high']:+.1f}]"
