"""``med-copilot data``: what a trajectory store holds, and getting it out as Parquet or a ``datasets`` folder."""

import json
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table

from copilot.data.export import export_rows, export_trajectories
from copilot.data.progress import watched
from copilot.data.stats import StoreStats, store_stats
from copilot.data.store import StoreReport, read_trajectories
from copilot.data.trajectory import Trajectory

REASON = click.option(
    "--data-use-reason", default="", help="Why data of credentialed sources may be exported; recorded in the file."
)


@click.group(name="data")
def COMMAND() -> None:
    """Look into trajectory stores and export them."""


@COMMAND.command()
@click.argument("stores", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def stats(stores: tuple[str, ...], as_json: bool) -> None:
    """Count what the stores (shards or folders) hold, and what in them could not be read."""
    reports = {store: StoreReport() for store in stores}
    counted = store_stats(_read(reports))
    if as_json:
        full = counted.as_dict() | {"stores": {store: report.as_dict() for store, report in reports.items()}}
        click.echo(json.dumps(full, indent=2))
        return
    console = Console()
    for table in _tables(counted, reports):
        console.print(table)
    for report in reports.values():
        for problem in report.problems:
            console.print(problem, style="yellow", soft_wrap=True)


@COMMAND.command()
@click.argument("stores", nargs=-1, required=True)
@click.argument("target")
@REASON
def export(stores: tuple[str, ...], target: str, data_use_reason: str) -> None:
    """Write trajectories to TARGET: one Parquet file (NAME.parquet), or a new `datasets` folder."""
    count = export_trajectories(stores, target, data_use_reason=data_use_reason)
    click.echo(f"{target}: {count} trajectories")


@COMMAND.command(name="export-rows")
@click.argument("rows")
@click.argument("target")
@REASON
def export_rows_command(rows: str, target: str, data_use_reason: str) -> None:
    """Write a build stage's ROWS file to TARGET: one Parquet file (NAME.parquet), or a new `datasets` folder."""
    count = export_rows(rows, target, data_use_reason=data_use_reason)
    click.echo(f"{target}: {count} rows")


def _read(reports: dict[str, StoreReport]) -> Iterator[Trajectory]:
    for store, report in reports.items():
        yield from watched(read_trajectories(store, report=report), f"reading {store}")


def _tables(stats: StoreStats, reports: dict[str, StoreReport]) -> Iterator[Table]:
    lines = Table("store", "lines", "kept", "duplicates", "retried", "bad", "half-written")
    for store, r in reports.items():
        lines.add_row(store, *(str(n) for n in (r.lines, r.kept, r.duplicates, r.retried, r.bad, r.half)))
    yield lines
    groups = Table("policy", "source", "split", "trajectories")
    for group, count in sorted(stats.by_group.items()):
        groups.add_row(*group, str(count))
    yield groups
    figures = Table("figure", "count")
    for name, value in stats.as_dict().items():
        if not isinstance(value, dict):
            figures.add_row(name.replace("_", " "), f"{value:,.0f}")
        elif name != "by_group":
            for key, count in sorted(value.items(), key=lambda item: -item[1]):
                figures.add_row(f"{name.replace('_', ' ')}: {key}", f"{count:,}")
    yield figures
