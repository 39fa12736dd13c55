"""Stage ``verify``: what a verifier is worth on held-out tasks, from the scores of a ``score`` stage.

Refuses tasks the verifier was trained or calibrated on. Writes ``verification.json`` for the report, and a results
file.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.data.trajectory import SuccessRule
from copilot.errors import DataError
from copilot.stages.base import Stage, StageConfig, StageContext


class VerifyConfig(StageConfig):
    """Evaluate a verifier."""

    type: Literal["verify"] = "verify"
    """This stage."""
    scores: str
    """Id of the ``score`` stage, over stores of one policy's attempts at test tasks."""
    k: int = Field(default=16, ge=2)
    """Attempts per task; tasks with fewer are left out and counted."""
    by: Literal["learned", "hybrid", "weighted", "likely", "majority"] = "learned"
    """Way of choosing whose Best@K is the summary's; all ways have rows of their own."""
    success: SuccessRule = "submitted"
    """Which success rate tells right from wrong."""
    results: Path | None = None
    """Results file (JSON) to write, for tables and docs."""

    def upstream(self) -> list[str]:
        """The scores."""
        return [self.scores]


def run(config: VerifyConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``verification.json`` and print the tables."""
    import rich

    from copilot.data.dataset import write_atomically
    from copilot.report.results import write_verification
    from copilot.report.terminal import drawn
    from copilot.report.verification import verification_tables
    from copilot.verifier.calibration import Calibration, expected_calibration_error, reliability
    from copilot.verifier.candidates import group_by_task
    from copilot.verifier.config import read_info
    from copilot.verifier.scores import read_scorable, read_scores
    from copilot.verifier.splits import check_unseen
    from copilot.verifier.verification import summary, verification

    info = read_info(ctx.output(config.scores, "verifier"))
    samples, masked = read_scorable(ctx.output(config.scores, "stores"))
    check_unseen(info, (sample.trajectory.task_id for sample in samples))
    scored = read_scores(ctx.output(config.scores, "scores"))
    of_key = {sample.trajectory.key: scored[sample.ref] for sample in samples if sample.ref in scored}
    trajectories = [sample.trajectory for sample in samples]
    if len({t.key for t in trajectories}) < len(trajectories):
        raise DataError("several stores hold attempts of the same number", remedy="verify one policy's store at a time")
    groups = group_by_task(trajectories, {key: each.score for key, each in of_key.items()}, rule=config.success)
    found = verification(groups, k=config.k, seed=ctx.seed)
    raw = Calibration().scores([of_key[t.key].logit for t in trajectories])
    labels = [t.success(config.success) for t in trajectories]
    found |= {
        "masked": masked,
        "by": config.by,
        "policy": sorted({t.policy for t in trajectories}),
        "verifier": info.model_dump(mode="json", exclude={"trained_on"})
        | {"base": Path(info.base).name, "tasks": len(info.trained_on)},
        "uncalibrated": {
            "ece": expected_calibration_error(raw, labels),
            "reliability": [vars(b) for b in reliability(raw, labels)],
        },
    }
    ctx.folder.mkdir(parents=True, exist_ok=True)
    path = ctx.folder / "verification.json"
    write_atomically(path, [json.dumps(found, indent=1) + "\n"])
    figures: dict[str, Any] = summary(found, by=config.by)
    ctx.log(**figures)
    outputs: dict[str, Any] = {"verification": str(path), **figures}
    if config.results is not None:
        outputs["results"] = str(
            write_verification(config.results, found, figures, seed=ctx.seed, run_folder=ctx.run_folder)
        )
    for table in verification_tables(found)[:2]:
        rich.print(drawn(table))
    return outputs


STAGE = Stage(VerifyConfig, run, distributed=False)
