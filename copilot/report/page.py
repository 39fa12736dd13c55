"""A run as one self-contained HTML page, made from the files of its run folder alone.

Reads ``evaluation.json`` of evaluate stages, ``report.json`` of build stages, ``metrics.jsonl`` and the resolved
recipe; anything missing is left out, so a half-finished run has a report too.
"""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from copilot.data.trajectory import Trajectory
from copilot.evaluation.summary import error_type
from copilot.report.plots import curves_plot, errors_plot, rates_plot
from copilot.report.tables import Cell, Table
from copilot.report.verification import verification_plots, verification_tables

CURVES = (
    ("loss", "training loss"),
    ("rewards/margins", "reward margin"),
    ("reward", "reward of rollouts"),
    ("solved", "share of rollouts solved"),
    ("reward_std_in_group", "deviation of rewards within a group"),
    ("kinds_unsolved", "kinds of question never right in rollouts"),
    ("junk_share", "reward that junk would earn, as a share"),
    ("kl", "KL to the reference, nats per token"),
    ("entropy", "entropy, nats per token"),
    ("clip_high", "share of tokens clipped from above"),
    ("server_difference", "trainer against server, nats per token"),
    ("server_tail", "share of tokens over 1 nat from the server"),
    ("explained_variance", "explained variance of the critic"),
    ("staleness", "versions behind the trainer"),
    ("memory_gb", "memory, GiB"),
)
"""Logged figures that are plotted over steps, one plot each."""
FAMILIES = (
    ("reward/", "reward by term"),
    ("solved/", "share of rollouts solved, by source"),
    ("masked/", "masked episodes, by cause"),
    ("seconds/", "seconds per step, by phase"),
    ("tokens_per_second/", "tokens per second, by phase"),
)
"""Logged figures that share a prefix are curves of one plot."""


def write_report(
    run_folder: Path,
    *,
    evaluation: dict[str, Any] | None,
    builds: dict[str, Any],
    verification: dict[str, Any] | None = None,
) -> Path:
    """Write ``report.html`` (and its plots as PNG files below ``plots/``) into the run folder.

    Args:
        run_folder: The run; ``recipe.yaml``, ``versions.json`` and ``metrics.jsonl`` are read from it.
        evaluation: Content of ``evaluation.json``, if there is one.
        builds: Build stage id -> content of its ``report.json``.
        verification: Content of ``verification.json``, if there is one.

    Returns:
        Path of the page.
    """
    plots = (verification_plots(verification) if verification else {}) | _plots(run_folder, evaluation)
    folder = run_folder / "plots"
    folder.mkdir(exist_ok=True)
    for name, (_, data) in plots.items():
        (folder / f"{name}.png").write_bytes(data)
    page = render(
        name=run_folder.name,
        subtitle=_subtitle(evaluation, verification),
        tables=[*evaluation_tables(evaluation), *(verification_tables(verification) if verification else [])],
        datasets=_build_tables(builds),
        plots=[{"title": title, "data": base64.b64encode(data).decode()} for title, data in plots.values()],
        samples=evaluation["samples"] if evaluation else [],
        recipe=_text(run_folder / "recipe.yaml"),
        versions=_text(run_folder / "versions.json"),
    )
    path = run_folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def evaluation_tables(evaluation: dict[str, Any] | None) -> list[Table]:
    """Success by subject and split, base protocols, paired lifts, categories."""
    if evaluation is None:
        return []
    return [
        _rates_table(evaluation),
        *([_lifts_table(evaluation)] if evaluation["comparisons"] else []),
        *_protocol_tables(evaluation),
        *(
            _group_table(evaluation, key, title)
            for key, title in (("by_source", "By source"), ("by_category", "By kind"))
        ),
    ]


def sample_record(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as the page shows it."""
    return {
        "policy": trajectory.policy,
        "task_id": trajectory.task_id,
        "correct": trajectory.outcome.submitted_correct,
        "error": error_type(trajectory).replace("_", " "),
        "reason": trajectory.outcome.reason or str(trajectory.stop_reason),
        "messages": [{"role": m["role"], "text": m["content"]} for m in trajectory.prompt],
        "turns": [
            {"text": turn.text, "feedback": turn.feedback.text, "status": turn.feedback.status}
            for turn in trajectory.turns
        ],
    }


def _rates_table(evaluation: dict[str, Any]) -> Table:
    rows = []
    for label, subject in evaluation["subjects"].items():
        for split, summary in {"all": subject["overall"], **subject["by_split"]}.items():
            rows.append(
                [
                    Cell(f"{label} ({subject['protocol']})"),
                    Cell(split.replace("_", " ")),
                    Cell(str(summary["episodes"])),
                    Cell(interval_text(summary["submitted"])),
                    Cell(interval_text(summary["any_attempt"])),
                    Cell(f"{summary['valid_action_rate']:.1f} %"),
                    Cell(f"{summary['turns']:.1f}"),
                    Cell(f"{summary['completion_tokens']:.0f}"),
                ]
            )
    head = ["policy", "split", "episodes", "submitted", "any attempt", "valid actions", "turns", "tokens"]
    note = "Submitted: the policy itself handed in a right answer. Any attempt: some turn held it (the paper's rule)."
    return Table("Success, with 95 % Wilson intervals", head, rows, note)


def _lifts_table(evaluation: dict[str, Any]) -> Table:
    rows = []
    for item in evaluation["comparisons"]:
        groups = {"all": item["overall"], **item["by_split"], "base spoke the protocol": item["spoke_protocol"]}
        for group, lift in groups.items():
            tone = "up" if lift["low"] > 0 else "down" if lift["high"] < 0 else ""
            rows.append(
                [
                    Cell(f"{item['new']} over {item['old']}"),
                    Cell(group.replace("_", " ")),
                    Cell(str(lift["tasks"])),
                    Cell(f"{lift['points']:+.1f}", tone),
                    Cell(f"[{lift['low']:+.1f}, {lift['high']:+.1f}]"),
                    Cell(f"{lift['p_value']:.2g}"),
                ]
            )
    head = ["comparison", "episodes", "pairs", "points", "95 % interval", "McNemar p"]
    return Table("Paired lifts in submitted success", head, rows)


def _protocol_tables(evaluation: dict[str, Any]) -> list[Table]:
    rows = [
        [Cell(label), Cell(protocol), Cell(interval_text(s["submitted"])), Cell(f"{s['valid_action_rate']:.1f} %")]
        for label, subject in evaluation["subjects"].items()
        if len(subject["by_protocol"]) > 1
        for protocol, s in subject["by_protocol"].items()
    ]
    note = "Models without training on the format are reported with the best of these, chosen on the test tasks."
    return [Table("By wire protocol", ["policy", "protocol", "submitted", "valid actions"], rows, note)] if rows else []


def _group_table(evaluation: dict[str, Any], key: str, title: str) -> Table:
    subjects = evaluation["subjects"]
    groups = sorted({group for subject in subjects.values() for group in subject[key]})
    rows = [
        [Cell(group), *(Cell(_short(subject[key].get(group))) for subject in subjects.values())] for group in groups
    ]
    return Table(title, ["", *subjects], rows)


def _build_tables(builds: dict[str, Any]) -> list[Table]:
    return [
        Table(f"Dataset {name}", ["count", ""], [[Cell(key), Cell(str(value))] for key, value in _flat(report)])
        for name, report in builds.items()
    ]


def _flat(report: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in report.items():
        if key == "by_template":  # hundreds of lines; they are in the stage's report.json
            yield "question templates", len(value)
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}: ")
        elif isinstance(value, int | float | str):
            yield f"{prefix}{key}".replace("_", " "), value


def interval_text(rate: dict[str, Any]) -> str:
    """``41.7 % [33.2, 50.6]``."""
    return f"{rate['rate']:.1f} % [{rate['low']:.1f}, {rate['high']:.1f}]"


def _short(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return ""
    rate = summary["submitted"]
    return f"{rate['rate']:.0f} % ({rate['successes']}/{rate['total']})"


def _plots(run_folder: Path, evaluation: dict[str, Any] | None) -> dict[str, tuple[str, bytes]]:
    plots: dict[str, tuple[str, bytes]] = {}
    if evaluation:
        subjects = evaluation["subjects"]
        groups = {"overall": {label: s["overall"] for label, s in subjects.items()}}
        for split in sorted({split for s in subjects.values() for split in s["by_split"]}):
            groups[split] = {label: s["by_split"][split] for label, s in subjects.items() if split in s["by_split"]}
        plots["success"] = ("Submitted success", rates_plot(groups))
        plots["errors"] = (
            "What became of the episodes",
            errors_plot({k: s["overall"]["errors"] for k, s in subjects.items()}),
        )
    metrics = read_metrics(run_folder / "metrics.jsonl")
    for figure, label in CURVES:
        curves: dict[str, list[tuple[float, float]]] = {}
        for record in metrics:
            if record.get("step") is not None and isinstance(record.get(figure), int | float):
                curves.setdefault(record["stage"], []).append((record["step"], record[figure]))
        if curves:
            plots[figure.replace("/", "_")] = (label[:1].upper() + label[1:], curves_plot(curves, ylabel=label))
    for prefix, label in FAMILIES:
        family = _family(metrics, prefix)
        if family:
            plots[f"{prefix.rstrip('/')}_parts"] = (label.capitalize(), curves_plot(family, ylabel=label))
    return plots


def _family(metrics: list[dict[str, Any]], prefix: str) -> dict[str, list[tuple[float, float]]]:
    """Curves of all figures that begin with ``prefix``, stage by stage; those that are 0 throughout are left out."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in metrics:
        for name, value in record.items():
            if name.startswith(prefix) and record.get("step") is not None and isinstance(value, int | float):
                label = f"{record['stage']}: {name.removeprefix(prefix)}"
                curves.setdefault(label, []).append((record["step"], value))
    return {label: points for label, points in curves.items() if any(value for _, value in points)}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """What counts of the metrics file, in order.

    A killed run may have left half a line. A stage that went back, by resuming or by running anew with other settings,
    has taken back what it had logged from there on.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept: dict[str, list[dict[str, Any]]] = {}
    reached: dict[str, int] = {}
    for record in (json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")):
        mine, step = kept.setdefault(record["stage"], []), record.get("step")
        if step is not None:
            if step <= reached.get(record["stage"], -1):
                mine[:] = [old for old in mine if (old.get("step") or 0) < step or _beside(old, record)]
            reached[record["stage"]] = step
        mine.append(record)
    return [record for records in kept.values() for record in records]


def _beside(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether both are of one step and have no figure in common."""
    return old.get("step") == new["step"] and old.keys() & new.keys() == {"stage", "step"}


def _subtitle(evaluation: dict[str, Any] | None, verification: dict[str, Any] | None) -> str:
    if evaluation is None and verification is not None:
        verifier = verification["verifier"]
        judged = f"{verification['tasks']} test tasks, {verification['k']} attempts each"
        return f"{judged}; verifier {Path(verifier['base']).name}, {verifier['head']} head"
    if evaluation is None:
        return "No evaluation yet."
    return f"{evaluation['tasks']} test tasks, {evaluation['attempts']} attempt(s) each; model {evaluation['model']}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def render(**parts: Any) -> str:
    """The page of these parts: ``name``, ``subtitle``, ``tables``, ``plots``, ``datasets``, ``samples``, ``recipe``."""
    environment = Environment(loader=PackageLoader("copilot.report", "."), autoescape=True)
    return environment.get_template("page.html.j2").render(**parts)
