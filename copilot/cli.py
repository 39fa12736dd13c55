"""The ``med-copilot`` console script: finds its commands in :mod:`copilot.commands` and loads only the one called.

A :class:`~copilot.errors.CopilotError` becomes one clear message on standard error and exit code 2.
"""

import importlib
import pkgutil
import sys

import click

import copilot.commands
from copilot.errors import CopilotError
from copilot.version import __version__


class _Commands(click.Group):
    """Commands by module name; ``run_tests`` would be called as ``run-tests``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(copilot.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"copilot.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.COMMAND
        return command


@click.command(cls=_Commands)
@click.version_option(__version__)
def cli() -> None:
    """Train coding agents for biomedical data science."""


def main() -> None:
    """Run the command line."""
    try:
        cli(prog_name="med-copilot")
    except CopilotError as error:
        click.echo("\n".join(error.lines()), err=True)
        sys.exit(error.exit_code)
