"""``med-copilot tasks``: which tasks there are, whether they are sound; fetching, making and cutting them."""

import click

from copilot.commands.tasks.check import check
from copilot.commands.tasks.counts import counts
from copilot.commands.tasks.fetch import fetch
from copilot.commands.tasks.generate import generate
from copilot.commands.tasks.junk import junk
from copilot.commands.tasks.listing import list_sources, show
from copilot.commands.tasks.overlap import overlap
from copilot.commands.tasks.suite import suite


@click.group(name="tasks")
def COMMAND() -> None:
    """List, show, check, fetch and generate tasks; cut suites; say what junk scores."""


for _command in (list_sources, show, check, fetch, generate, suite, overlap, junk, counts):
    COMMAND.add_command(_command)
