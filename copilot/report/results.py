"""Results files: headline figures with the command, machine, seed and date that made them (DESIGN section 7)."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from copilot.version import __version__


def provenance(*, seed: int) -> dict[str, Any]:
    """Command, commit, machine, seed and date of this process."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit.stdout.strip() or "none",
        "machine": f"{os.cpu_count()} x {_processor()}, {_memory_gb()} GB, Python {platform.python_version()}",
        "version": __version__,
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
    }


def write_results(path: Path, evaluation: dict[str, Any], *, seed: int, run_folder: Path) -> Path:
    """Write an evaluation's headline figures.

    ``summary`` holds, for each compared pair, ``NEW_lift_points``, ``NEW_lift_ci_low``, ``NEW_lift_ci_high`` and the
    same for every split and for the episodes in which the old policy spoke the protocol; and each subject's rates.
    """
    recipe = run_folder / "recipe.yaml"
    record = {
        **provenance(seed=seed),
        "command": f"med-copilot run recipes/{run_folder.name}.yaml" if recipe.exists() else "",
        "model": evaluation["model"],
        "summary": summary_figures(evaluation),
        "rows": _rows(evaluation),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def summary_figures(evaluation: dict[str, Any]) -> dict[str, float]:
    """Flat headline figures of an evaluation."""
    figures: dict[str, float] = {"test_tasks": evaluation["tasks"]}
    for label, subject in evaluation["subjects"].items():
        figures[f"{label}_submitted"] = subject["overall"]["submitted"]["rate"]
        figures[f"{label}_any_attempt"] = subject["overall"]["any_attempt"]["rate"]
    for item in evaluation["comparisons"]:
        pair = item["new"] if item["old"] == next(iter(evaluation["subjects"])) else f"{item['new']}_over_{item['old']}"
        groups = {"": item["overall"], **{f"{k}_": v for k, v in item["by_split"].items()}}
        for prefix, lift in {**groups, "spoke_protocol_": item["spoke_protocol"]}.items():
            figures[f"{pair}_{prefix}lift_points"] = lift["points"]
            figures[f"{pair}_{prefix}lift_ci_low"] = lift["low"]
            figures[f"{pair}_{prefix}lift_ci_high"] = lift["high"]
    return figures


def _rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"policy": label, "protocol": subject["protocol"], "split": split, **summary}
        for label, subject in evaluation["subjects"].items()
        for split, summary in {"all": subject["overall"], **subject["by_split"]}.items()
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
