"""Stage ``report``: the run as one HTML page, and its headline figures as a results file."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from copilot.report.results import write_results
from copilot.stages.base import Stage, StageConfig, StageContext


class ReportConfig(StageConfig):
    """Write the run's page."""

    type: Literal["report"] = "report"
    """This stage."""
    evaluation: str = ""
    """Id of the ``evaluate`` stage shown; empty: none."""
    verification: str = ""
    """Id of the ``verify`` stage shown; empty: none."""
    builds: list[str] = Field(default_factory=list)
    """Ids of ``build`` stages whose counts are shown."""
    results: Path | None = None
    """Results file (JSON) to write, for tables and docs."""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if not (self.evaluation or self.verification):
            raise ValueError("name an evaluate stage (evaluation), a verify stage (verification), or both")
        if self.results is not None and not self.evaluation:
            raise ValueError("results are an evaluation's; a verify stage writes its own")
        return self

    def upstream(self) -> list[str]:
        """The stages shown."""
        return [name for name in (self.evaluation, self.verification, *self.builds) if name]


def run(config: ReportConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``report.html`` into the run folder and print the table."""
    import rich

    from copilot.report.page import write_report
    from copilot.report.terminal import rates_table

    evaluation = _read(ctx.output(config.evaluation, "evaluation")) if config.evaluation else None
    verification = _read(ctx.output(config.verification, "verification")) if config.verification else None
    builds = {stage: _read(ctx.output(stage, "report")) for stage in config.builds}
    page = write_report(ctx.run_folder, evaluation=evaluation, builds=builds, verification=verification)
    outputs: dict[str, Any] = {"report": str(page)}
    if config.results is not None and evaluation is not None:
        outputs["results"] = str(write_results(config.results, evaluation, seed=ctx.seed, run_folder=ctx.run_folder))
    for table in rates_table(evaluation) if evaluation else ():
        rich.print(table)
    rich.print(f"Report: {page}")
    return outputs


def _read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


STAGE = Stage(ReportConfig, run, distributed=False)
