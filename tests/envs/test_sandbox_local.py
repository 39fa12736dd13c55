"""The local backend, for real: cells, state, limits, files, values, and nothing of the host in sight."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sandboxes import (
    CellResult,
    SandboxBackend,
    SandboxConfig,
    SandboxLimits,
    SandboxSpec,
    make_backend,
)
from copilot.envs.sandboxes.inside.processes import Family
from copilot.errors import InfrastructureError, SandboxError

Run = Callable[[Coroutine[Any, Any, Any]], Any]
LIMITS = SandboxLimits(cell_seconds=10, memory_mb=256, processes=32, disk_mb=8, output_chars=1000)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.close()


@pytest.fixture(scope="module")
def backend(run: Run) -> Iterator[SandboxBackend]:
    backend = make_backend(SandboxConfig(limits=LIMITS))
    isolation = run(backend.start())
    assert isolation.level == "namespaces"
    yield backend
    run(backend.close())


def cells(
    run: Run, backend: SandboxBackend, *codes: str, timeout: float | None = None, **spec: Any
) -> list[CellResult]:
    """Run cells in one fresh sandbox."""

    async def go() -> list[CellResult]:
        async with await backend.open(SandboxSpec(**spec)) as sandbox:
            return [await sandbox.execute(code, timeout=timeout) for code in codes]

    found: list[CellResult] = run(go())
    return found


def value(run: Run, backend: SandboxBackend, code: str) -> Any:
    async def go() -> Any:
        async with await backend.open(SandboxSpec()) as sandbox:
            result = await sandbox.execute(code)
            assert result.status == "ok", result
            return await sandbox.value("x")

    return run(go())


def test_state_lives_on_and_the_last_expression_is_echoed(run: Run, backend: SandboxBackend) -> None:
    first, second, third = cells(run, backend, "a = 20\nprint('set')", "a + 22", "a + 22;")
    assert (first.status, first.stdout) == ("ok", "set\n")
    assert second.stdout == "42\n"
    assert third.stdout == ""


def test_an_error_names_its_type_text_line_and_own_frames(run: Run, backend: SandboxBackend) -> None:
    (result,) = cells(run, backend, "import json\n\ndef f():\n    return json.loads('{')\nf()")
    assert result.status == "error"
    assert result.error_type == "json.decoder.JSONDecodeError"
    assert result.error_line == 4
    assert result.stderr.startswith('Traceback (most recent call last):\n  File "<cell 1>", line 5')
    assert "decoder.py" not in result.stderr
    assert not result.state_lost


def test_syntax_errors_have_a_line(run: Run, backend: SandboxBackend) -> None:
    (result,) = cells(run, backend, "a = 1\nb = = 2")
    assert (result.error_type, result.error_line) == ("SyntaxError", 2)


def test_a_timeout_interrupts_and_keeps_state(run: Run, backend: SandboxBackend) -> None:
    _, late, after = cells(run, backend, "a = 1", "while True: pass", "a", timeout=0.3)
    assert (late.status, late.state_lost) == ("timeout", False)
    assert late.seconds >= 0.3
    assert after.stdout == "1\n"


def test_a_stubborn_cell_is_killed_and_the_loss_of_state_reported(run: Run, backend: SandboxBackend) -> None:
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    _, late, after = cells(run, backend, "a = 1", stubborn, "'a' in globals()", timeout=0.3)
    assert (late.status, late.state_lost) == ("timeout", True)
    assert (after.status, after.stdout, after.state_lost) == ("ok", "False\n", False)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(0)", "exited with code 0"),
        ("import os; os.abort()", "signal 6"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
        ("import os; os.closerange(0, 256)", "interpreter"),
    ],
)
def test_death_of_the_interpreter_is_a_crash(run: Run, backend: SandboxBackend, code: str, message: str) -> None:
    _, dead, after = cells(run, backend, "a = 1", code, "1 + 1")
    assert (dead.status, dead.state_lost) == ("crashed", True)
    assert message in dead.error_message
    assert after.stdout == "2\n"


def test_leaving_politely_is_an_error_not_a_success(run: Run, backend: SandboxBackend) -> None:
    _, left, after = cells(run, backend, "a = 1", "import sys; sys.exit(0)", "a")
    assert (left.status, left.error_type) == ("error", "SystemExit")
    assert after.stdout == "1\n"


def test_memory_of_one_process_and_of_many_is_capped(run: Run, backend: SandboxBackend) -> None:
    one = "x = bytearray(400 << 20)"
    many = (
        "import os, time\nfor i in range(8):\n    if os.fork() == 0:\n        b = bytearray(60 << 20)\n"
        "        for j in range(0, len(b), 4096): b[j] = 1\n        time.sleep(30)\ntime.sleep(30)"
    )
    first, second, after = cells(run, backend, one, many, "1")
    assert (first.status, first.state_lost) == ("memory", False)
    assert (second.status, second.state_lost) == ("memory", True)
    assert after.status == "ok"


def test_output_keeps_head_and_tail(run: Run, backend: SandboxBackend) -> None:
    exact, over, flood = cells(
        run, backend, "print('x' * 999)", "print('a' + 'é' * 1000 + 'b')", "import sys\nfor i in range(10**5): print(i)"
    )
    assert (len(exact.stdout), exact.truncated_chars) == (1000, 0)
    assert over.truncated_chars == 3
    assert over.stdout.startswith("aé")
    assert over.stdout.endswith("éb\n")
    assert flood.stdout.startswith("0\n1\n")
    assert flood.stdout.endswith("99999\n")
    assert flood.truncated_chars == sum(len(f"{i}\n") for i in range(10**5)) - 1000


def test_terminal_runs_in_the_same_work_folder(run: Run, backend: SandboxBackend) -> None:
    async def go() -> tuple[CellResult, CellResult, CellResult]:
        async with await backend.open(SandboxSpec()) as sandbox:
            await sandbox.execute("open('note', 'w').write('hello')")
            read = await sandbox.terminal("cat note; echo bad >&2; exit 3")
            slow = await sandbox.terminal("sleep 30 & sleep 30", timeout=0.2)
            return read, slow, await sandbox.execute("import os; len([p for p in os.listdir('/proc') if p.isdigit()])")

    read, slow, alive = run(go())
    assert (read.status, read.stdout, read.stderr, read.error_message) == ("error", "hello", "bad\n", "exit code 3")
    assert (slow.status, slow.state_lost) == ("timeout", False)
    assert alive.stdout == "2\n"


def test_task_files_are_read_only_and_databases_open(run: Run, backend: SandboxBackend, tmp_path: Path) -> None:
    database = tmp_path / "d.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("create table t(a)")
        connection.execute("insert into t values (7)")
    connection.close()
    table = tmp_path / "t.csv"
    table.write_text("a\n1\n")
    table.chmod(0o600)
    read, write, listing = cells(
        run,
        backend,
        "import sqlite3\nc = sqlite3.connect('file:/data/d.sqlite?mode=ro', uri=True)\n"
        "c.execute('select a from t').fetchall()",
        "c2 = sqlite3.connect('/data/d.sqlite')\nc2.execute('delete from t')",
        "import os\nprint(sorted(os.listdir('/data')), open('/data/t.csv').read())\nopen('/data/t.csv', 'a')",
        files={"d.sqlite": database, "t.csv": table},
    )
    assert read.stdout == "[(7,)]\n"
    assert write.error_type == "sqlite3.OperationalError"
    assert "['d.sqlite', 't.csv'] a\n1\n" in listing.stdout
    assert listing.error_type in ("OSError", "PermissionError")


def test_a_changed_task_file_is_seen_anew(run: Run, backend: SandboxBackend, tmp_path: Path) -> None:
    for text in ("one", "other"):
        path = tmp_path / "new"
        path.write_text(text)
        path.replace(tmp_path / "f")
        (result,) = cells(run, backend, "open('/data/f').read()", files={"f": tmp_path / "f"})
        assert result.stdout == f"'{text}'\n"


def test_seeds_make_random_numbers_repeatable_and_different(run: Run, backend: SandboxBackend) -> None:
    code = "import random, numpy\n(random.random(), float(numpy.random.rand()))"
    first, again, other = (cells(run, backend, code, seed=seed)[0].stdout for seed in (1, 1, 2))
    assert first == again != other


def test_the_preamble_runs_first_and_again_after_a_kill(run: Run, backend: SandboxBackend) -> None:
    _, after = cells(run, backend, "import os; os._exit(1)", "helper()", preamble="def helper(): return 'here'")
    assert after.stdout == "'here'\n"
    with pytest.raises(InfrastructureError, match="ZeroDivisionError"):
        run(backend.open(SandboxSpec(preamble="1/0")))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = {'a': (1, 2.5, None), 2: {3, 1}}", {"a": [1, 2.5, None], "2": [1, 3]}),
        ("x = [float('nan'), float('inf')]", [None, "Infinity"]),
        (
            "import numpy as np; x = [np.int64(3), np.float32(0.5), np.bool_(True), np.arange(3)]",
            [3, 0.5, True, [0, 1, 2]],
        ),
        ("import pandas as pd; x = pd.DataFrame({'a': [1, 2], 'b': ['p', None]})", [[1, "p"], [2, None]]),
        ("import pandas as pd; x = pd.Series([1.5, None])", [1.5, None]),
        (
            "import pandas as pd; x = pd.to_datetime(pd.Series(['2100-12-31 23:59:00', None]))",
            ["2100-12-31 23:59:00", None],
        ),
        ("import numpy as np; x = np.datetime64('2100-12-31')", "2100-12-31"),
        ("import datetime; x = [datetime.date(2100, 1, 2), datetime.timedelta(minutes=1)]", ["2100-01-02", 60.0]),
        ("class F(float):\n    def __eq__(self, o): return True\nx = F(2)", 2.0),
        ("x = 'a\\ud800b'", "a?b"),
    ],
)
def test_values_leave_as_json(run: Run, backend: SandboxBackend, code: str, expected: Any) -> None:
    assert value(run, backend, code) == expected


@pytest.mark.parametrize(
    "code",
    [
        "x = []\nx.append(x)",
        "x = object()",
        "x = 'a' * (2 << 20)",
        "x = 10**5000",
        "x = list(range(10**6))",
        "x = open",
    ],
)
def test_values_without_a_json_form_are_refused(run: Run, backend: SandboxBackend, code: str) -> None:
    with pytest.raises(ValueError, match="x: "):
        value(run, backend, code)


def test_a_missing_variable_is_a_key_error(run: Run, backend: SandboxBackend) -> None:
    with pytest.raises(KeyError):
        value(run, backend, "y = 1")


def test_nothing_of_the_host_or_the_project_is_visible(run: Run, backend: SandboxBackend) -> None:
    code = """
import importlib.util, os, sys
print(importlib.util.find_spec("copilot"), importlib.util.find_spec("torch"))
for path in ("/root", "/home", "/work/main", "/var/run/docker.sock", "/sys", "/etc/shadow", "/boot"):
    print(path, os.path.exists(path))
print(os.getuid(), sorted(os.listdir("/opt/site")), [v for v in os.environ.values() if "pyenv" in v or "main" in v])
files = [os.path.join(folder, name) for top in ("/opt/site", "/etc", "/work", "/data", "/usr/local")
         for folder, _, names in os.walk(top) for name in names]
print([path for path in files if "copilot" in path.lower() or path.endswith(".jsonl")])
"""
    (result,) = cells(run, backend, code)
    lines = result.stdout.splitlines()
    assert lines[0] == "None None"
    assert all(line.endswith("False") for line in lines[1:8])
    assert lines[8].startswith("1000 [")
    assert lines[8].endswith(" []")
    assert lines[9] == "[]"


def test_sixty_four_episodes_at_once_do_not_see_each_other(run: Run, backend: SandboxBackend) -> None:
    async def episode(number: int) -> str:
        async with await backend.open(SandboxSpec(seed=number)) as sandbox:
            await sandbox.execute(f"open('mine', 'w').write('{number}')\nmine = {number}")
            return (await sandbox.execute("import os\nprint(mine, open('mine').read(), len(os.listdir('.')))")).stdout

    async def go() -> list[str]:
        return await asyncio.gather(*(episode(number) for number in range(64)))

    assert run(go()) == [f"{n} {n} 3\n" for n in range(64)]


def test_closing_is_idempotent_and_ends_a_running_cell(run: Run, backend: SandboxBackend) -> None:
    async def go() -> None:
        sandbox = await backend.open(SandboxSpec())
        cell = asyncio.create_task(sandbox.execute("import time; time.sleep(30)"))
        await asyncio.sleep(0.05)
        await asyncio.gather(sandbox.close(), sandbox.close())
        with pytest.raises(InfrastructureError):
            await cell
        with pytest.raises(InfrastructureError):
            await sandbox.execute("1")

    run(go())


def test_cancelling_a_cell_closes_its_sandbox(run: Run, backend: SandboxBackend) -> None:
    async def go() -> None:
        sandbox = await backend.open(SandboxSpec())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sandbox.execute("import time; time.sleep(30)"), 0.1)
        with pytest.raises(InfrastructureError):
            await sandbox.execute("1")

    run(go())


def test_a_missing_task_file_is_an_infrastructure_error(run: Run, backend: SandboxBackend, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="absent"):
        run(backend.open(SandboxSpec(files={"a": tmp_path / "absent"})))


def test_too_weak_a_sandbox_is_refused(run: Run) -> None:
    with pytest.raises(SandboxError, match="container"):
        run(make_backend(SandboxConfig(require="container")).start())


def test_closing_the_backend_leaves_no_process(run: Run) -> None:
    async def go() -> int:
        backend = make_backend(SandboxConfig(limits=LIMITS))
        await backend.start()
        sandbox = await backend.open(SandboxSpec())
        await sandbox.execute("import subprocess\nsubprocess.Popen(['sleep', '77123'])")
        await backend.close()
        return sum(_command_line(pid) == "sleep\x0077123\x00" for pid in os.listdir("/proc") if pid.isdigit())

    assert run(go()) == 0


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_no_process_is_told_from_one(run: Run) -> None:
    """The kernel's own count says whether a cell made a process, and cannot be set back."""
    with open("/proc/loadavg", "rb") as counter:
        family = Family(counter.fileno())
        assert not family.only(os.getpid())  # this test made children long ago, or others did
        assert not Family().only(os.getpid())


DIES_WHEN_LOOKED_AT = """
import os, signal, time
from copilot.envs.sandboxes.inside import processes

def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid

def look(pid):
    if pid == late:
        processes._kill(pid)
        while state(pid)[0] not in "ZX":
            time.sleep(0.001)
    return state(pid)

state, processes._stat = processes._stat, look
keep, late = child(), child()
print(processes.Family().end(keep), os.path.exists(f"/proc/{late}"), state(keep)[0] in "ZX")
os.kill(keep, signal.SIGKILL)
"""


def test_who_dies_while_all_are_ended_is_buried() -> None:
    found = subprocess.run([sys.executable, "-c", DIES_WHEN_LOOKED_AT], capture_output=True, text=True, check=True)
    assert found.stdout == "True False False\n"
