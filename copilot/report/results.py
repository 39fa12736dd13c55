"""Results files of evaluations: headline figures, with what made them."""

from pathlib import Path
from typing import Any

from copilot.recipe.folder import write_json
from copilot.report.provenance import provenance


def write_results(path: Path, evaluation: dict[str, Any], *, seed: int, run_folder: Path) -> Path:
    """Write an evaluation's headline figures.

    ``summary`` holds, for each compared pair, ``NEW_lift_points``, ``NEW_lift_ci_low``, ``NEW_lift_ci_high`` and the
    same for every split and for the episodes in which the old policy spoke the protocol; and each subject's rates.
    """
    record = {
        **provenance(seed=seed, command=f"med-copilot run recipes/{run_folder.name}.yaml"),
        "model": evaluation["model"],
        "summary": summary_figures(evaluation),
        "rows": _rows(evaluation),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return path


def write_verification(
    path: Path, found: dict[str, Any], figures: dict[str, float], *, seed: int, run_folder: Path
) -> Path:
    """Write a verifier's figures: ``summary`` of :mod:`copilot.verifier.verification`, the curves, rows by part."""
    parts = {"all": found["overall"], **found["by_source"], **found["by_split"]}
    record = {
        **provenance(seed=seed, command=f"med-copilot run recipes/{run_folder.name}.yaml"),
        "verifier": found["verifier"],
        "policy": found["policy"],
        "by": found["by"],
        "summary": figures,
        "curves": found["curves"],
        "rows": [{"part": name, **part} for name, part in parts.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
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
    if len(evaluation["comparisons"]) == 1:  # of the only pair also without its name
        only = evaluation["comparisons"][0]["overall"]
        figures |= {"lift_points": only["points"], "lift_ci_low": only["low"], "lift_ci_high": only["high"]}
    return figures


def _rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"policy": label, "protocol": subject["protocol"], "split": split, **summary}
        for label, subject in evaluation["subjects"].items()
        for split, summary in {"all": subject["overall"], **subject["by_split"]}.items()
    ]
