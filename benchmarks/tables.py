"""Writes the tables of README and docs from the JSON files of runs, so that no figure is typed by hand.

A block begins with ``<!-- NAME -->`` and ends with ``<!-- /NAME -->``; what is between them is replaced.
"""

import json
from pathlib import Path
from typing import Any

from copilot.report.blocks import fill_blocks, markdown_table, origin_line
from copilot.report.leaderboard import measured_tables

ROOT = Path(__file__).resolve().parent.parent


def quickstart() -> str:
    """Success by policy and split, and the paired lifts, of ``results/quickstart.json``."""
    record = json.loads((ROOT / "results" / "quickstart.json").read_text(encoding="utf-8"))
    head = ["policy", "protocol", "split", "episodes", "submitted", "any attempt", "valid actions"]
    rows = [
        [
            row["policy"],
            row["protocol"],
            row["split"].replace("_", " "),
            str(row["episodes"]),
            _rate(row["submitted"]),
            _rate(row["any_attempt"]),
            f"{row['valid_action_rate']:.0f} %",
        ]
        for row in record["rows"]
    ]
    summary = record["summary"]
    lifts = [
        [name, where, f"{summary[f'{key}lift_points']:+.1f}", _interval(summary, key)]
        for name, prefix in (("SFT over base", "sft_"), ("DPO over base", "dpo_"), ("DPO over SFT", "dpo_over_sft_"))
        for where, key in (
            ("all", prefix),
            ("seen templates", f"{prefix}test_seen_"),
            ("unseen templates", f"{prefix}test_unseen_"),
            ("base spoke the protocol", f"{prefix}spoke_protocol_"),
        )
    ]
    origin = (
        f"`{record['command']}` at {record['commit']}, {record['machine']}, seed {record['seed']}, {record['date']}."
    )
    return "\n\n".join(
        [
            markdown_table(head, rows),
            markdown_table(["lift in submitted success", "episodes", "points", "95 % interval"], lifts),
            origin,
        ]
    )


def verifier() -> str:
    """Best@K by selector, ranking and calibration by part, of ``results/verifier.json``."""
    record = json.loads((ROOT / "results" / "verifier.json").read_text(encoding="utf-8"))
    whole = record["rows"][0]
    k = max(map(int, record["curves"]["pass"]))
    chosen = [
        [
            f"**{name}**" if name == record["by"] else name,
            _percent(row["best_at_k"]),
            _percent(row["minus_majority"]),
            _percent(row["headroom_captured"]) if row["headroom_captured"] else "none",
        ]
        for name, row in whole["selectors"].items()
    ]
    chosen.insert(0, ["Pass@1", _percent(whole["pass_at_1"]), "", ""])
    chosen.append([f"Pass@{k}", _percent(whole["pass_at_k"]), "", "100 %"])
    parts = [
        [
            row["part"].replace("_", " "),
            str(row["mixed_tasks"]),
            f"{100 * row['base_rate']:.1f} %",
            f"{row['within_task_auc']['value']:.3f}",
            f"{row['auprc']:.3f}",
            f"{row['ece']:.3f}",
        ]
        for row in record["rows"]
        if row["mixed_tasks"]
    ]
    return "\n\n".join(
        [
            markdown_table(["chosen by", f"one of {k}", "minus majority", "headroom captured"], chosen),
            markdown_table(["tasks", "mixed", "attempts right", "AUC within task", "AUPRC", "ECE"], parts),
            origin_line(record),
        ]
    )


def verifier_trend() -> str:
    """Every verifier that was evaluated, ``results/verifier*.json``, by how many tasks it learned from."""
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "results").glob("verifier*.json")}
    rows = []
    order = sorted(found.items(), key=lambda item: (item[1]["verifier"]["tasks"], item[0].stem == "verifier"))
    for path, record in order:
        whole, chosen = record["rows"][0], record["rows"][0]["selectors"]
        rows.append(
            [
                f"`{path.stem}`",
                str(record["verifier"]["tasks"]),
                _percent(chosen["learned"]["minus_majority"]),
                _percent(chosen["weighted"]["minus_majority"]),
                _percent(chosen["weighted"]["headroom_captured"]),
                f"{whole['within_task_auc']['value']:.3f}",
                f"{whole['ece']:.3f}",
            ]
        )
    head = ["results", "tasks learned from", "learned minus majority", "weighted minus majority"]
    return markdown_table([*head, "headroom captured, weighted", "AUC within task", "ECE"], rows)


def leaderboard() -> str:
    """Success, what became of the episodes, and pairs of ``results/leaderboard.json``."""
    record = json.loads((ROOT / "results" / "leaderboard.json").read_text(encoding="utf-8"))
    for row in record["rows"]:
        row["pass_at"] = {int(k): value for k, value in row["pass_at"].items()}
    tables = [
        markdown_table(table.head, [[cell.text for cell in row] for row in table.rows])
        for table in measured_tables(record)
    ]
    return "\n\n".join([*tables, origin_line(record)])


def online_runs() -> str:
    """Every online run on CPUs and what it gained over its start, of ``results/online_runs.json``."""
    runs = json.loads((ROOT / "results" / "online_runs.json").read_text(encoding="utf-8"))
    rows = [
        [
            str(number),
            f"`{run['name']}`",
            run["commit"],
            run["note"],
            str(len(run["steps"])),
            f"{run['lift']['points']:+.1f} [{run['lift']['ci_low']:+.1f}, {run['lift']['ci_high']:+.1f}]"
            if run["lift"]
            else "not evaluated",
        ]
        for number, run in enumerate(runs, start=1)
    ]
    return markdown_table(["run", "recipe", "commit", "what sets it apart", "steps", "lift over SFT, points"], rows)


def benchmark(name: str) -> str:
    """The summary of ``benchmarks/results/NAME.json``."""
    record = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    rows = [[key, f"{value:.4g}"] for key, value in record["summary"].items()]
    return "\n\n".join([*_systems(record["rows"]), markdown_table(["figure", "value"], rows), origin_line(record)])


def _systems(rows: list[dict[str, Any]]) -> list[str]:
    """A table of rows that compare systems, with the columns any of them has; none for other rows."""
    if not all("system" in row for row in rows):
        return []
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[str(row.get(name, "")) for name in columns] for row in rows]
    return [markdown_table([name.replace("_", " ") for name in columns], cells)]


def main() -> None:
    """Fill README and all docs with what there is."""
    blocks = {}
    if (ROOT / "results" / "quickstart.json").exists():
        blocks["quickstart"] = quickstart()
    if (ROOT / "results" / "verifier.json").exists():
        blocks["verifier"], blocks["verifier_trend"] = verifier(), verifier_trend()
    if (ROOT / "results" / "leaderboard.json").exists():
        blocks["leaderboard"] = leaderboard()
    if (ROOT / "results" / "online_runs.json").exists():
        blocks["online_runs"] = online_runs()
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        blocks[path.stem] = benchmark(path.stem)
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        fill_blocks(path, blocks)
    print("filled:", ", ".join(blocks))


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['rate']:.1f} % [{rate['low']:.1f}, {rate['high']:.1f}]"


def _percent(interval: dict[str, float]) -> str:
    return f"{100 * interval['value']:.1f} % [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _interval(summary: dict[str, float], key: str) -> str:
    return f"[{summary[f'{key}lift_ci_low']:+.1f}, {summary[f'{key}lift_ci_high']:+.1f}]"


if __name__ == "__main__":
    main()
