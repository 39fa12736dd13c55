"""The soak script in short: many episodes, random fates and kills, nothing left behind, nothing forged."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_short_soak_on_local_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), "--episodes", "66", "--workers", "8"]
    done = subprocess.run([*command, "--results", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads((tmp_path / "soak_local.json").read_text())["summary"]
    assert summary["forged_or_wrong"] == 0
    assert summary["infrastructure_failures"] == 0
    assert all(value <= 0 for key, value in summary.items() if key.startswith("left_"))


def test_a_killed_host_leaves_no_process(tmp_path: Path) -> None:
    """Number 54: SIGKILL of the trainer in the middle of cells."""
    script = f"""
import asyncio, os
from copilot.envs.sandboxes import SandboxConfig, SandboxSpec, make_backend
async def main():
    backend = make_backend(SandboxConfig(slots=3))
    await backend.start()
    sandboxes = [await backend.open(SandboxSpec()) for _ in range(3)]
    cells = [asyncio.create_task(s.terminal("exec sleep 931337")) for s in sandboxes]
    open({str(tmp_path / "up")!r}, "w").close()
    await asyncio.gather(*cells)
asyncio.run(main())
"""
    host = subprocess.Popen([sys.executable, "-c", script])
    try:
        _wait_for(lambda: (tmp_path / "up").exists())
        _wait_for(lambda: _count("931337") == 3)
    finally:
        host.kill()
        host.wait()
    _wait_for(lambda: _count("931337") == 0)


def _count(mark: str) -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes().startswith(b"sleep\0" + mark.encode())
        except OSError:
            continue
    return found


def _wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "did not happen within a minute"
        time.sleep(0.05)
