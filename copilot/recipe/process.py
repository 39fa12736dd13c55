"""One stage process: started with its job on standard input, logged without secrets, gone when its parent is gone.

The child leads a session of its own, so that stopping it stops what it started; ``PR_SET_PDEATHSIG`` ends it even
when this process is killed with -9. Its result comes back through an memory file.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from copilot.recipe.secrets import Scrubber

PARENT_ENV = "MED_COPILOT_PARENT_PID"
RESULT_ENV = "MED_COPILOT_RESULT_FD"
TERMINAL_ENV = "MED_COPILOT_TERMINAL_FD"

_GRACE = 10.0
_DRAIN = 2.0
_TAIL = 30
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ChildResult:
    """How a stage process ended."""

    code: int
    """Exit status; negative: the signal that killed it."""
    outputs: dict[str, Any] | None = None
    """What the stage returned."""
    error: list[str] = field(default_factory=list)
    """Lines of a :class:`~copilot.errors.CopilotError`, for the terminal."""
    tail: list[str] = field(default_factory=list)
    """The log's last lines, for anything else."""

    @property
    def ok(self) -> bool:
        """Whether it did its work."""
        return self.code == 0 and self.outputs is not None


class Child:
    """A running stage process.

    Args:
        job: JSON for the child's standard input.
        env: Its whole environment.
        log: File its output is appended to.
        scrub: Takes secrets out of the log.
        bars: Draw progress bars on our standard output; else they go to the log.
        inherit: Further descriptors it keeps open (the run's lock).
    """

    def __init__(
        self,
        job: dict[str, Any],
        *,
        env: dict[str, str],
        log: Path,
        scrub: Scrubber,
        bars: bool = False,
        inherit: tuple[int, ...] = (),
    ) -> None:
        self._scrub = scrub
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._result = os.memfd_create("result")
        env = {**env, PARENT_ENV: str(os.getpid()), RESULT_ENV: str(self._result), "PYTHONUNBUFFERED": "1"}
        passed = [self._result, *inherit]
        terminal = os.dup(1) if bars else None  # in the child, 1 is the log
        if terminal is not None:
            env[TERMINAL_ENV] = str(terminal)
            passed.append(terminal)
        # -P: a user's ./data or ./envs folder must not shadow a module
        command = [sys.executable, "-P", "-m", "copilot.recipe.child"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            pass_fds=passed,
            start_new_session=True,
        )
        if terminal is not None:
            os.close(terminal)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pump = threading.Thread(target=self._copy, args=(self._process.stdout, log), daemon=True)
        self._pump.start()
        with contextlib.suppress(BrokenPipeError):  # it died at once; its log and exit status say why
            self._process.stdin.write(json.dumps(job).encode())
            self._process.stdin.close()

    def _copy(self, source: IO[bytes], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            for raw in iter(lambda: source.readline(1 << 16), b""):
                line = self._scrub(raw.decode(errors="replace").rstrip("\n").rsplit("\r", 1)[-1])
                self._tail.append(line)
                file.write(line + "\n")
                file.flush()

    def wait(self, timeout: float) -> ChildResult | None:
        """The result once it has ended, ``None`` when it runs on after ``timeout`` seconds."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._kill_group()
        self._pump.join(_DRAIN)
        raw = os.pread(self._result, os.fstat(self._result).st_size, 0)
        os.close(self._result)
        answer = json.loads(raw) if raw else {}
        return ChildResult(code, answer.get("outputs"), answer.get("error", []), list(self._tail))

    def stop(self) -> None:
        """Ask it to end (as Ctrl-C does), and kill it and what it started when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + _GRACE
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
        self._kill_group()
        self._process.wait()
        self._pump.join(_DRAIN)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left, as it should be
            os.killpg(self._process.pid, signal.SIGKILL)


def die_with_parent(parent: int) -> None:
    """End this process when ``parent`` ends, however it ends; call it first thing in the child."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os.kill(os.getpid(), signal.SIGKILL)
