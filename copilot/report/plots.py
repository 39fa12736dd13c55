"""Plots of a run, as PNG bytes; pure functions of the figures, so that a report is made again from JSON alone."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from copilot.evaluation.summary import ERROR_TYPES

COLOURS = ("#9aa5b1", "#2f6db5", "#e07b39", "#4c9f70", "#8e5ea2", "#c2a83e", "#b5475d", "#3aa6a6", "#6b6b6b")
"""Subjects in order: grey for the base model, then distinct hues (also in greyscale)."""


def rates_plot(by_group: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Submitted success with 95 % intervals: a cluster of bars per group (``overall``, splits), a bar per subject.

    Args:
        by_group: group -> subject -> summary of :func:`copilot.evaluation.summary.summarize`.
    """
    subjects = list(dict.fromkeys(s for group in by_group.values() for s in group))
    figure, axes = figure_and_axes(1.6 + 1.1 * len(by_group) * max(1, len(subjects)) ** 0.5, 3.4)
    width = 0.8 / max(1, len(subjects))
    for i, subject in enumerate(subjects):
        for x, group in enumerate(by_group.values()):
            if subject in group:
                _bar(axes, x + (i - (len(subjects) - 1) / 2) * width, width, group[subject]["submitted"], i)
    axes.set_xticks(range(len(by_group)), [name.replace("_", " ") for name in by_group])
    axes.set_ylabel("submitted success, %")
    axes.set_ylim(0, 105)
    _legend(axes, subjects)
    return png(figure)


def errors_plot(errors: Mapping[str, Mapping[str, int]]) -> bytes:
    """What became of the episodes: a stacked bar per subject, shares in percent."""
    figure, axes = figure_and_axes(7.5, 0.9 + 0.42 * len(errors))
    palette = dict(zip(ERROR_TYPES, ("#4c9f70", *COLOURS[1:3], *COLOURS[4:], "#d8b4a0", "#7f9ad1"), strict=False))
    for y, counts in enumerate(errors.values()):
        left, total = 0.0, sum(counts.values()) or 1
        for kind in ERROR_TYPES:
            share = 100 * counts.get(kind, 0) / total
            label = kind.replace("_", " ") if y == 0 else None
            axes.barh(y, share, left=left, color=palette.get(kind, "#cccccc"), label=label, height=0.7)
            left += share
    axes.set_yticks(range(len(errors)), list(errors))
    axes.invert_yaxis()
    axes.set_xlabel("share of episodes, %")
    axes.set_xlim(0, 100)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8)
    return png(figure)


def curves_plot(curves: Mapping[str, Sequence[tuple[float, float]]], *, ylabel: str) -> bytes:
    """Lines over training steps, one per stage; a running mean over the raw points when there are many."""
    figure, axes = figure_and_axes(6.0, 3.0)
    for i, (name, points) in enumerate(curves.items()):
        steps, values = [p[0] for p in points], [p[1] for p in points]
        colour = COLOURS[1 + i % (len(COLOURS) - 1)]
        axes.plot(steps, values, color=colour, alpha=0.35, linewidth=1)
        axes.plot(steps, _smooth(values), color=colour, linewidth=2, label=name)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(ylabel)
    _legend(axes, list(curves))
    return png(figure)


def _smooth(values: Sequence[float]) -> list[float]:
    """Mean over a centred window of about a tenth of the points."""
    half = len(values) // 20
    windows = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _bar(axes: Axes, x: float, width: float, rate: Mapping[str, float], colour: int) -> None:
    below, above = rate["rate"] - rate["low"], rate["high"] - rate["rate"]
    axes.bar(x, rate["rate"], width * 0.92, color=COLOURS[colour % len(COLOURS)])
    axes.errorbar(x, rate["rate"], yerr=[[max(0.0, below)], [max(0.0, above)]], color="#222222", capsize=2, linewidth=1)
    axes.text(x, rate["high"] + 1.5, f"{rate['rate']:.0f}", ha="center", fontsize=8, color="#222222")


def _legend(axes: Axes, names: Sequence[str]) -> None:
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[i % len(COLOURS)]) for i in range(len(names))]
    if axes.lines and not axes.patches:
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if len(names) > 3 else {}
        axes.legend(frameon=False, fontsize=8, **beside)
    else:
        axes.legend(handles, names, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def figure_and_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches, in the project's looks."""
    figure, axes = plt.subplots(figsize=(width, height), dpi=130)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as PNG; closes it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()
