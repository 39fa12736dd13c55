"""No process outlives the one who asked for it: told to stop, parent gone, parent killed with -9, or guard killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copilot.policy import guard

GUARD = [sys.executable, "-I", "-S", str(guard.__file__)]

# A server with a child of its own; both ignore SIGTERM, and both write down who they are.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, "-c", open(sys.argv[1] + ".py").read(), sys.argv[1], "child"])
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""

PARENT = """
import os, subprocess, sys, time
subprocess.Popen([*sys.argv[2:-1], str(os.getpid()), "0.2", sys.executable, sys.argv[1] + ".py", sys.argv[1]])
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition: "object", what: str) -> None:
    for _ in range(600):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    pytest.fail(f"never: {what}")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "pids.py").write_text(STUBBORN)
    return tmp_path / "pids"


def pids(record: Path) -> list[int]:
    wait_until(lambda: record.exists() and len(record.read_text().split()) == 2, "both processes started")
    return [int(pid) for pid in record.read_text().split()]


def guarded(record: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*GUARD, str(os.getpid()), "0.2", sys.executable, f"{record}.py", str(record)])


def test_told_to_stop_it_ends_the_whole_group_even_a_stubborn_one(record: Path) -> None:
    process = guarded(record)
    started = pids(record)
    process.terminate()
    process.wait()
    assert not [pid for pid in started if alive(pid)]


def test_a_parent_killed_with_9_takes_everything_along(record: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(record), *GUARD, "end"])
    started = pids(record)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not [pid for pid in started if alive(pid)], "all gone")


def test_a_guard_killed_with_9_takes_a_server_that_listens_along(tmp_path: Path) -> None:
    record = tmp_path / "pid"
    code = f"import os, time; open({str(record)!r}, 'w').write(str(os.getpid()) + ' '); time.sleep(600)"
    process = subprocess.Popen([*GUARD, str(os.getpid()), "0.2", sys.executable, "-c", code])
    wait_until(lambda: record.exists() and record.read_text().endswith(" "), "started")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(int(record.read_text())), "gone")


@pytest.mark.parametrize("status", [0, 7])
def test_it_ends_with_the_servers_status(status: int) -> None:
    command = [sys.executable, "-c", f"raise SystemExit({status})"]
    assert subprocess.run([*GUARD, str(os.getpid()), "0.2", *command], check=False).returncode == status
