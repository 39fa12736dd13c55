# ruff: noqa: E501  (attack rows are kept on one line each)
"""Processes, signals, time and memory: what a cell starts ends with it, what it holds is bounded, what it breaks is its own."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sandboxes import SandboxSpec


@dataclass(frozen=True)
class Row:
    """A cell, how it may end, and what a following cell must print."""

    numbers: tuple[int, ...]
    name: str
    code: str
    statuses: tuple[str, ...]
    then: str = "1 + 1"
    prints: str = "2\n"
    timeout: float | None = 1.5


COUNT = "len([p for p in os.listdir('/proc') if p.isdigit()]) <= BASE"
STUBBORN = "import signal\nfor s in range(1, 32):\n    if s not in (9, 17, 19): signal.signal(s, signal.SIG_IGN)\n"

ROWS = [
    Row((13,), "fork-bomb", "while True:\n    try: os.fork()\n    except OSError: pass", ("timeout", "crashed", "memory")),
    Row((13,), "shell-fork-bomb", "!f() { f | f & }; f; sleep 9", ("timeout", "ok", "error", "memory", "crashed")),
    Row((14,), "thread-bomb", "import threading, time\nn = 0\ntry:\n    while True:\n        threading.Thread(target=time.sleep, "
        "args=(60,), daemon=True).start(); n += 1\nexcept RuntimeError: print(n < 64)", ("ok", "memory")),
    Row((15,), "zombie-flood", "for i in range(500):\n    try:\n        if os.fork() == 0: os._exit(0)\n    except OSError: break",
        ("ok", "crashed"), "import subprocess; subprocess.run(['true']).returncode", "0\n", 5),
    Row((16, 21, 23), "daemon", "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time; time.sleep(99)\n"
        "    os._exit(0)\nos.wait()", ("ok",), COUNT, "True\n"),
    Row((16,), "background-shell", "!setsid sleep 99 >/dev/null 2>&1 & setsid sleep 98 & exit 0", ("ok",), COUNT, "True\n"),
    Row((17,), "ignores-signals", STUBBORN + "while True: pass", ("timeout",)),
    Row((17,), "catches-interrupts", "while True:\n    try:\n        while True: pass\n    except KeyboardInterrupt: pass",
        ("timeout",)),
    Row((18,), "kill-everyone", "import signal\nfor p in (-1, 1, os.getppid(), 2):\n    try: os.kill(p, 9)\n    except OSError: pass",
        ("ok", "crashed")),
    Row((18,), "stop-the-parent", "import signal\nfor p in (1, os.getppid()):\n    for s in (19, 20, 15, 2):\n        try: os.kill(p, s)\n"
        "        except OSError: pass", ("ok",)),
    Row((19,), "exit-0", "os._exit(0)", ("crashed",)),
    Row((19,), "abort", "os.abort()", ("crashed",)),
    Row((19,), "segfault", "ctypes.string_at(0)", ("crashed",)),
    Row((19,), "stack-overflow", "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()", ("error", "crashed", "memory", "timeout"), timeout=8),
    Row((19,), "ast-overflow", "eval('(' * 10**5)", ("error", "memory", "crashed")),
    Row((22,), "hooks-left-behind", "import sys, atexit, builtins\natexit.register(lambda: os._exit(9))\nsys.settrace(lambda *a: None)\n"
        "sys.excepthook = sys.displayhook = lambda *a: 1/0\nsys.meta_path.clear()\nbuiltins.len = lambda x: 0", ("ok",)),
    Row((24,), "fast-death-is-no-timeout", "os.kill(os.getpid(), 9)", ("crashed",)),
    Row((24,), "fast-death-in-shell", "!kill -9 $$", ("error",)),
    Row((25,), "memory", "x = bytearray(1 << 30)", ("memory",)),
    Row((25,), "memory-in-children", "for i in range(20):\n    if os.fork() == 0:\n        b = bytearray(50 << 20)\n"
        "        for j in range(0, len(b), 4096): b[j] = 1\n        break\nimport time; time.sleep(20)", ("memory",), timeout=8),
    Row((26, 9), "fill-the-disk", "try:\n    with open('big', 'wb') as f:\n        while True: f.write(bytes(1 << 20))\n"
        "except OSError as e: print(e.errno in (27, 28))\nos.remove('big')", ("ok",)),
    Row((9,), "fill-the-inodes", "try:\n    for i in range(10**6): open(f'f{i}', 'w').close()\nexcept OSError as e: print(e.errno)\n"
        "import glob\nfor f in glob.glob('f*'): os.remove(f)", ("ok",), timeout=8),
    Row((28,), "descriptors", "kept = []\ntry:\n    while True: kept.append(os.dup(0))\nexcept OSError as e: print(e.errno)", ("ok",)),
    Row((29,), "spin-in-numpy", "import numpy\na = numpy.ones((1500, 1500))\nwhile True: a @ a", ("timeout",)),
    Row((29,), "regex-backtracking", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", ("timeout",)),
    Row((29,), "recursive-sql", "import sqlite3\nsqlite3.connect(':memory:').execute('with recursive r(n) as (select 1 union all "
        "select n + 1 from r) select count(*) from r').fetchall()", ("timeout",)),
    Row((30,), "sleep", "import time; time.sleep(99)", ("timeout",)),
    Row((30,), "deadlock", "import threading\nl = threading.Lock(); l.acquire(); l.acquire()", ("timeout",)),
    Row((30,), "input", "input()", ("error",)),
    Row((30,), "read-stdin-in-shell", "!cat; read x", ("ok", "error")),
    Row((31,), "huge-integer", "x = 10 ** 10**7; str(x)", ("error", "timeout"), timeout=3),
    Row((31,), "huge-repr", "list(range(10**6))", ("ok", "memory"), timeout=8),
    Row((31,), "huge-frame", "import pandas; pandas.DataFrame({'a': range(10**9)}).assign(b=1.5)", ("memory",), timeout=8),
    Row((32,), "numpy-threads", "import numpy\nnumpy.ones((400, 400)) @ numpy.ones((400, 400))\nlen(os.listdir('/proc/self/task'))",
        ("ok",), "len(os.listdir('/proc/self/task'))", "1\n"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{'-'.join(map(str, row.numbers))}")
def test_contained(world: Any, row: Row) -> None:
    base = f"BASE = len([p for p in os.listdir('/proc') if p.isdigit()])\nnumber = {len(row.name)}"
    _, attack, after = world.cells(base, row.code, f"BASE = globals().get('BASE', 9)\n{row.then}", timeout=row.timeout)
    assert attack.status in row.statuses, attack
    assert after.status == "ok", after
    assert after.stdout == row.prints, (attack, after)


def test_siblings_do_not_meet(world: Any) -> None:
    """Numbers 50, 51, 52 and 58: files, environment, patched modules, random numbers and pids of another episode."""

    async def go() -> list[str]:
        first = await world.backend.open(SandboxSpec(seed=1))
        second = await world.backend.open(SandboxSpec(seed=2))
        third = await world.backend.open(SandboxSpec(seed=1))
        await first.execute(
            "import os, sys, pandas, json, builtins\nfor f in ('/work/mark', '/tmp/mark', '/dev/shm/mark'): open(f, 'w').close()\n"
            "os.environ['MARK'] = '1'\npandas.MARK = json.MARK = sys.MARK = builtins.MARK = 1\npandas.read_csv = None"
        )
        look = (
            "import os, sys, pandas, json, builtins\n"
            "print([f for f in ('/work/mark', '/tmp/mark', '/dev/shm/mark') if os.path.exists(f)], 'MARK' in os.environ,"
            " any(hasattr(m, 'MARK') for m in (pandas, json, sys, builtins)), pandas.read_csv is None)"
        )
        seen = (await second.execute(look)).stdout
        draw = "import random, numpy\nprint(random.random(), numpy.random.rand())"
        draws = [(await sandbox.execute(draw)).stdout for sandbox in (first, second, third)]
        killer = "import os, signal\nfor p in range(2, 2000):\n    if p != os.getpid():\n        try: os.kill(p, 9)\n        except OSError: pass"
        await first.execute(killer)
        alive = (await second.execute("1 + 1")).stdout
        await asyncio.gather(*(sandbox.close() for sandbox in (first, second, third)))
        return [seen, *draws, alive]

    seen, first, second, third, alive = world.run(go())
    assert seen == "[] False False False\n"
    assert first == third != second
    assert alive == "2\n"


def test_memory_of_one_episode_does_not_cost_another(world: Any) -> None:
    """Number 25: the one that takes too much ends, its sibling goes on."""

    async def go() -> tuple[str, str, str]:
        greedy, quiet = [await world.backend.open(SandboxSpec()) for _ in range(2)]
        await quiet.execute("kept = 1")
        taken = await greedy.execute("x = []\nwhile True: x.append(bytearray(b'1') * (8 << 20))")
        result = taken.status, (await quiet.execute("kept")).stdout, (await greedy.execute("1")).status
        await asyncio.gather(greedy.close(), quiet.close())
        return result

    taken, kept, after = world.run(go())
    assert (taken, kept) == ("memory", "1\n")
    assert after in ("ok", "memory")  # what it still holds is its own


def test_nothing_is_left_on_the_host(world: Any) -> None:
    """Numbers 16 and 23: no process of a closed episode survives."""
    mark = f"9{os.getpid()}7"
    world.cells(f"import subprocess\nfor i in range(5): subprocess.Popen(['sleep', '{mark}'], start_new_session=True)")
    found = [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in _command_line(pid)]
    assert found == []


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
