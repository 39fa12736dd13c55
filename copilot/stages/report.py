"""Stage ``report``: the run as one HTML page, and its headline figures as a results file."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.report.results import write_results
from copilot.stages.base import Stage, StageConfig, StageContext


class ReportConfig(StageConfig):
    """Write the run's page."""

    type: Literal["report"] = "report"
    """This stage."""
    evaluation: str
    """Id of the ``evaluate`` stage shown."""
    builds: list[str] = Field(default_factory=list)
    """Ids of ``build`` stages whose counts are shown."""
    results: Path | None = None
    """Results file (JSON) to write, for tables and docs."""

    def upstream(self) -> list[str]:
        """The stages shown."""
        return [self.evaluation, *self.builds]


def run(config: ReportConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``report.html`` into the run folder and print the table."""
    import rich

    from copilot.report.page import write_report
    from copilot.report.terminal import rates_table

    evaluation = json.loads(Path(ctx.output(config.evaluation, "evaluation")).read_text(encoding="utf-8"))
    builds = {
        stage: json.loads(Path(ctx.output(stage, "report")).read_text(encoding="utf-8")) for stage in config.builds
    }
    page = write_report(ctx.run_folder, evaluation=evaluation, builds=builds)
    outputs: dict[str, Any] = {"report": str(page)}
    if config.results is not None:
        outputs["results"] = str(write_results(config.results, evaluation, seed=ctx.seed, run_folder=ctx.run_folder))
    for table in rates_table(evaluation):
        rich.print(table)
    rich.print(f"Report: {page}")
    return outputs


STAGE = Stage(ReportConfig, run, distributed=False)
