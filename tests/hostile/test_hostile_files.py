# ruff: noqa: E501  (attack rows are kept on one line each)
"""Files: names that lead elsewhere, archives that unpack elsewhere or for ever, files that are none, clocks that lie.

Nothing is ever copied out of a sandbox as a file, so the host unpacks and reads nothing: what remains is what comes in
(``put``), what the episode does to itself, and what must be gone after a ``reset``.
"""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sandboxes import Sandbox, SandboxSpec

NAMES = ["", ".", "..", "../x", "/etc/x", "a/b", "a\0b", "x" * 256, "é" * 128]


def _with_sandbox(world: Any, act: Any, **spec: Any) -> Any:
    async def go() -> Any:
        async with await world.backend.open(SandboxSpec(**spec)) as sandbox:
            return await act(sandbox)

    return world.run(go())


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_one_files(world: Any, name: str) -> None:
    """Number 5: refused on the host, for what goes in and for task files alike."""

    async def act(sandbox: Sandbox) -> None:
        with pytest.raises(ValueError, match="not a file name"):
            await sandbox.put(name, b"x")

    _with_sandbox(world, act)
    with pytest.raises(ValueError, match="not a file name"):
        SandboxSpec(files={name: Path("/etc/hostname")})


PLACES = {
    "symlink-out": ("os.symlink('/usr/evil', 'f')", "Error"),
    "symlink-to-data": ("os.symlink('/data/t', 'f')", "Error"),
    "directory": ("os.mkdir('f')", "IsADirectoryError"),
    "fifo": ("os.mkfifo('f')", "time limit"),
    "no-room": ("open('big', 'wb').write(bytes(7 << 20))", "No space"),
    "patched-open": ("import builtins\nbuiltins.open = lambda *a, **k: 1 / 0", ""),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_file_put_where_the_code_laid_a_trap(world: Any, name: str, tmp_path: Path) -> None:
    """Number 7: the write has the code's own rights and time limit (a FIFO takes it whole), and its failure is told."""
    trap, says = PLACES[name]
    (tmp_path / "t").write_text("task")

    async def act(sandbox: Sandbox) -> str:
        assert (await sandbox.execute(f"import os\n{trap}")).status == "ok"
        with pytest.raises(ValueError, match=says) if says else contextlib.nullcontext():
            await sandbox.put("f", bytes(2 << 20))
        return (await sandbox.execute("print(open('/data/t').read())")).stdout

    assert _with_sandbox(world, act, files={"t": tmp_path / "t"}) == "task\n"
    assert (tmp_path / "t").read_text() == "task"


ARCHIVE = """
import io, tarfile
made = io.BytesIO()
with tarfile.open(fileobj=made, mode="w") as tar:
    for name, kind, link in (("../../usr/evil", tarfile.REGTYPE, ""), ("/usr/evil2", tarfile.REGTYPE, ""), ("l", tarfile.SYMTYPE, "/usr"),
                             ("l/evil3", tarfile.REGTYPE, ""), ("dev", tarfile.BLKTYPE, ""), ("/data/t", tarfile.REGTYPE, "")):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        tar.addfile(entry)
made.seek(0)
with tarfile.open(fileobj=made) as tar:
    tar.extraction_filter = lambda member, path: member  # newer Pythons would themselves refuse
    for member in tar.getmembers():
        if member.name != "l": attempt(member.name, lambda: tar.extract(member, "/work"))
        else: tar.extract(member, "/work")
"""


def test_an_archive_cannot_unpack_outside(world: Any) -> None:
    """Number 6."""
    attack, after = world.cells(ARCHIVE, "1 + 1")
    assert attack.status == "ok", attack
    assert attack.stdout.count(": denied ") == 5, attack.stdout
    assert after.stdout == "2\n"


BOMB = """
import zipfile
with zipfile.ZipFile("b.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
    with bomb.open("b", "w", force_zip64=True) as file:
        for _ in range(64): file.write(bytes(1 << 20))
try:
    zipfile.ZipFile("b.zip").extract("b")
except OSError as error:
    print(error.errno in (27, 28))
os.remove("b")
"""


def test_a_bomb_fills_only_its_own_disk(world: Any) -> None:
    """Number 8."""
    attack, after = world.cells(BOMB, "1 + 1")
    assert (attack.status, attack.stdout, after.stdout) == ("ok", "True\n", "2\n"), attack


def test_names_that_are_no_text_are_listed_and_swept(world: Any) -> None:
    """Numbers 12 and 23: nonsense names, trees too deep to name, closed folders and daemons do not survive a reset."""
    code = """
import os, time
for name in (b"a\\nb", b"\\xff\\xfe", b"n" * 255, b"-rf", b"*", b"\\x1b[2J", b".hidden"): open(name, "w").close()
for _ in range(300):
    os.mkdir("d" * 100); os.chdir("d" * 100)
os.chdir("/work"); os.mkdir("closed"); open("closed/x", "w").close(); os.chmod("closed", 0)
if os.fork() == 0:
    os.setsid(); time.sleep(99)
kept = 1
"""

    async def act(sandbox: Sandbox) -> tuple[Any, ...]:
        made = await sandbox.execute(code)
        listed = await sandbox.terminal("ls -a")
        await sandbox.reset()
        after = await sandbox.execute("import os\nprint(sorted(os.listdir('/work')), 'kept' in globals())")
        return made.status, listed.status, after.stdout, after.state_lost

    assert _with_sandbox(world, act) == ("ok", "ok", "['.shm', '.tmp'] False\n", False)


def test_a_copy_that_the_task_writes(world: Any, tmp_path: Path) -> None:
    """Number 61: the copy is the episode's own, a reset brings it back, the task's file stays as it was."""
    (tmp_path / "t").write_text("task")

    async def act(sandbox: Sandbox) -> list[str]:
        read = "print(open('t').read(), open('/data/t').read())"
        first = await sandbox.execute(f"open('t', 'a').write('!'); {read}")
        await sandbox.execute("import os; os._exit(0)")
        second = await sandbox.execute(read)
        await sandbox.reset()
        return [first.stdout, second.stdout, (await sandbox.execute(read)).stdout]

    found = _with_sandbox(world, act, files={"t": tmp_path / "t"}, writable=("t",))
    assert found == ["task! task\n", "task! task\n", "task task\n"]
    assert (tmp_path / "t").read_text() == "task"


LIES = """
import time, signal, threading, datetime
time.time = time.monotonic = time.perf_counter = lambda: 0.0
time.sleep = lambda s: None
signal.signal(signal.SIGINT, signal.SIG_IGN)
"""


def test_a_patched_clock_moves_no_deadline(world: Any) -> None:
    """Number 60: the clock that counts is the supervisor's; the machine's cannot be set."""
    setting = "attempt('settime', lambda: __import__('time').clock_settime(0, 0.0))"
    patched, endless, denied = world.cells(LIES, "while True: pass", setting, timeout=1.0)
    assert patched.status == "ok"
    assert endless.status == "timeout"
    assert endless.seconds >= 1.0
    assert ": denied " in denied.stdout


def test_kills_that_race_with_cells_and_with_each_other(world: Any) -> None:
    """Number 55: closed twice, at any moment of a cell, by two at once."""
    rng = random.Random(55)

    async def one(delay: float) -> None:
        sandbox = await world.backend.open(SandboxSpec())
        cell = asyncio.create_task(sandbox.terminal("sleep 9"))
        await asyncio.sleep(delay)
        await asyncio.gather(sandbox.close(), sandbox.close())
        await sandbox.close()
        await asyncio.gather(cell, return_exceptions=True)
        assert cell.exception() is not None

    async def go() -> None:
        await asyncio.gather(*(one(rng.choice((0.0, 0.001, 0.01, 0.05))) for _ in range(4)))

    for _ in range(3):
        world.run(go())
    assert world.cells("1 + 1")[0].stdout == "2\n"
