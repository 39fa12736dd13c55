"""The rollout's progress, in a log file and on a terminal."""

import io

from rich.console import Console

from copilot.data.trajectory import Outcome, StopReason, Trajectory
from copilot.rollout.progress import RolloutProgress


def finished(solved: bool) -> Trajectory:
    return Trajectory(
        task_id="t",
        attempt=0,
        source="s",
        policy="base",
        protocol="json",
        prompt=(),
        turns=(),
        outcome=Outcome(submitted=True, submitted_correct=solved),
        stop_reason=StopReason.SUBMITTED,
    )


def test_a_log_file_gets_whole_lines_and_the_last_state() -> None:
    out = io.StringIO()
    with RolloutProgress("base", 3, console=Console(file=out, width=200)) as progress:
        for solved in (True, False, True):
            progress.advance(finished(solved))
    (line,) = out.getvalue().splitlines()
    assert line.startswith("base: 3/3 episodes, ")
    assert "episodes/s" in line
    assert "2 solved" in line


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with RolloutProgress("base", 2, console=Console(file=out, width=200, force_terminal=True)) as progress:
        progress.advance(finished(True))
    assert "1/2" in out.getvalue()


def test_nothing_played_says_nothing() -> None:
    out = io.StringIO()
    with RolloutProgress("base", None, console=Console(file=out)):
        pass
    assert out.getvalue() == ""
