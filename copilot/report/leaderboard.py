"""The leaderboard as HTML and Markdown, with the paper's published figures beside, marked as what they are."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from copilot.evaluation.published import SFT_SHARES, published
from copilot.evaluation.summary import ERROR_TYPES
from copilot.report.markdown import markdown
from copilot.report.page import render
from copilot.report.plots import COLOURS, errors_plot, figure_and_axes, png
from copilot.report.tables import Cell, Table

PUBLISHED_NOTE = (
    "As published (arXiv 2506.04405, Tables 3, 4, 10), under its graders and its any-attempt rule, on its test tasks. "
    "Its graders accept some wrong answers: not comparable with the tables above, shown for orientation."
)


def write_leaderboard(
    folder: Path, board: dict[str, Any], *, shares: Mapping[str, float], made_by: str
) -> tuple[Path, Path]:
    """Write ``leaderboard.html`` and ``leaderboard.md``.

    Args:
        folder: Where to.
        board: Of :func:`copilot.evaluation.leaderboard.leaderboard`.
        shares: Share of the SFT data a model was trained on, by name, for those that belong to such a series.
        made_by: Command, commit and machine, for the foot of the page.

    Returns:
        Both files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables, plots = [*measured_tables(board), _published()], leaderboard_plots(board, shares)
    title, subtitle = "Leaderboard", f"{board['k']} attempts per task; intervals are 95 % bootstrap over tasks."
    page, text = folder / "leaderboard.html", folder / "leaderboard.md"
    page.write_text(
        render(
            name=title,
            subtitle=subtitle,
            tables=tables,
            plots=[{"title": name, "data": base64.b64encode(data).decode()} for name, data in plots.items()],
            recipe=made_by,
        ),
        encoding="utf-8",
    )
    text.write_text(markdown(title, subtitle, tables) + f"\n{made_by}\n", encoding="utf-8")
    return page, text


def leaderboard_plots(board: dict[str, Any], shares: Mapping[str, float]) -> dict[str, bytes]:
    """Pass@K against K, what became of the episodes, and success against the share of SFT data; title -> PNG."""
    found = {}
    for suite in dict.fromkeys(row["suite"] for row in board["rows"]):
        rows = [row for row in board["rows"] if row["suite"] == suite]
        if board["k"] > 1:
            found[f"Pass@K against K: {suite}"] = pass_curves_plot({r["model"]: r["pass_at"] for r in rows})
        found[f"What became of the episodes: {suite}"] = errors_plot({r["model"]: r["errors"] for r in rows})
        own = {r["model"]: r["submitted"] for r in rows if r["model"] in shares}
        if own:
            points = [(shares[model], rate) for model, rate in own.items()]
            found[f"Success against the share of SFT data: {suite}"] = sft_share_plot(points)
    return found


def pass_curves_plot(curves: Mapping[str, Mapping[Any, float]]) -> bytes:
    """Submitted success of at least one of K attempts, a line per model."""
    figure, axes = figure_and_axes(6.0, 3.6)
    for i, (model, curve) in enumerate(curves.items()):
        points = sorted((int(size), 100 * value) for size, value in curve.items())
        colour = COLOURS[(1 + i) % len(COLOURS)]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, color=colour, label=model)
    axes.set_xticks(sorted({int(size) for curve in curves.values() for size in curve}))
    axes.set_xlabel("attempts per task, K")
    axes.set_ylabel("Pass@K, %")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return png(figure)


def sft_share_plot(points: Sequence[tuple[float, Mapping[str, float]]]) -> bytes:
    """Success against the share of the SFT data, the paper's curve in grey.

    Args:
        points: Share in (0, 1], and rate with ``value``, ``low`` and ``high`` as shares.
    """
    figure, axes = figure_and_axes(5.4, 3.4)
    axes.plot(
        [100 * share for share, _ in SFT_SHARES],
        [rate for _, rate in SFT_SHARES],
        color=COLOURS[0],
        linestyle="--",
        marker="s",
        markersize=3.5,
        label="published (7B, its graders)",
    )
    ordered = sorted(points, key=lambda point: point[0])
    xs, ys = [100 * share for share, _ in ordered], [100 * rate["value"] for _, rate in ordered]
    below = [100 * (rate["value"] - rate["low"]) for _, rate in ordered]
    above = [100 * (rate["high"] - rate["value"]) for _, rate in ordered]
    axes.errorbar(xs, ys, yerr=[below, above], color=COLOURS[1], marker="o", markersize=4, capsize=2, label="measured")
    axes.set_xticks([25, 50, 75, 100])
    axes.set_xlabel("share of the SFT data, %")
    axes.set_ylabel("success, %")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def measured_tables(board: dict[str, Any]) -> Iterator[Table]:
    """Success, what became of the episodes and pairs of models, of a board as :func:`write_leaderboard` has it."""
    for suite in dict.fromkeys(row["suite"] for row in board["rows"]):
        rows = [row for row in board["rows"] if row["suite"] == suite]
        yield _rates(suite, rows, board["k"])
        yield _errors(suite, rows)
    if board["pairs"]:
        yield _significance(board["pairs"])


def _rates(suite: str, rows: Sequence[dict[str, Any]], k: int) -> Table:
    head = ["model", "protocol", "tasks", "submitted", "any attempt", f"Pass@{k}", "tokens in", "tokens out"]
    head += ["$ per 100 episodes", "masked"]
    cells = [
        [
            Cell(row["model"]),
            Cell(row["protocol"]),
            Cell(str(row["submitted"]["tasks"])),
            Cell(_percent(row["submitted"])),
            Cell(_percent(row["any_attempt"])),
            Cell(f"{100 * row['pass_at'][k]:.1f} %" if k in row["pass_at"] else "too few attempts"),
            Cell(f"{row['prompt_tokens']:,.0f}"),
            Cell(f"{row['completion_tokens']:,.0f}"),
            Cell("" if row["cost"] is None else f"{100 * row['cost']:.2f}"),
            Cell(str(row["masked"])),
        ]
        for row in rows
    ]
    note = (
        "Submitted: the model itself handed in a right answer. Any attempt: some turn held it (the paper's rule). "
        "Strict graders; tokens per episode."
    )
    return Table(f"Success: {suite}", head, cells, note)


def _errors(suite: str, rows: Sequence[dict[str, Any]]) -> Table:
    kinds = [kind for kind in ERROR_TYPES if any(row["errors"].get(kind) for row in rows)]
    cells = [
        [
            Cell(row["model"]),
            *(Cell(f"{100 * row['errors'].get(kind, 0) / row['episodes']:.0f} %") for kind in kinds),
        ]
        for row in rows
    ]
    return Table(f"What became of the episodes: {suite}", ["model", *(k.replace("_", " ") for k in kinds)], cells)


def _significance(pairs: Sequence[dict[str, Any]]) -> Table:
    cells = [
        [
            Cell(f"{pair['better']} over {pair['worse']}"),
            Cell(pair["suite"]),
            Cell(str(pair["tasks"])),
            Cell(f"{pair['points']:+.1f}", "up" if pair["p_adjusted"] < 0.05 else ""),
            Cell(f"[{pair['low']:+.1f}, {pair['high']:+.1f}]"),
            Cell(f"{pair['p_adjusted']:.2g}"),
        ]
        for pair in pairs
    ]
    note = "Same tasks; sign-flip permutation test over tasks, Holm-corrected over all pairs."
    return Table("Pairs", ["comparison", "suite", "tasks", "points", "95 % interval", "p"], cells, note)


def _published() -> Table:
    found = published()
    cells = [
        [Cell(row.model), *(Cell(f"{rate:.1f}") for rate in row.rates.values()), Cell(f"{row.average:.1f}")]
        for row in found
    ]
    return Table("Published figures, %", ["model", *found[0].rates, "average"], cells, PUBLISHED_NOTE)


def _percent(interval: Mapping[str, float]) -> str:
    return f"{100 * interval['value']:.1f} % [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"
