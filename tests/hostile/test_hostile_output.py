# ruff: noqa: E501  (attack rows are kept on one line each)
"""Output, protocol and answers: floods, forgeries, and values made to deceive whoever reads them."""

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sandboxes import SandboxSpec

CAP = 2000


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("stdout-33", "while True: print('x' * 1000)"),
        ("stderr-33", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)"),
        ("both-33", "import sys\nwhile True: print('x' * 5000); print('y' * 5000, file=sys.stderr)"),
        ("shell-33", "!yes"),
    ],
    ids=lambda value: value if "-" in value and " " not in value else "",
)
def test_endless_output_ends_at_the_time_limit(world: Any, name: str, code: str) -> None:
    attack, after = world.cells(code, "1 + 1", timeout=5)  # on a busy machine a second may pass before its first line
    assert attack.status == "timeout"
    assert max(len(attack.stdout), len(attack.stderr)) < CAP + 100
    assert attack.truncated_chars > 100_000
    assert after.stdout == "2\n"


def test_one_endless_line(world: Any) -> None:
    """Number 34."""
    (attack,) = world.cells("import os\nfor i in range(64): os.write(1, b'a' * (1 << 20))")
    assert attack.status == "ok"
    assert attack.truncated_chars == (64 << 20) - CAP


def test_bytes_that_are_no_text(world: Any) -> None:
    """Numbers 35 and 36."""
    attack, exact, over = world.cells(
        "import os, sys\nos.write(1, b'\\xff\\x00\\xc3')\nprint('\\ud800', 'a\\x1b[31m')\nprint('\\ud800', file=sys.stderr)",
        f"print('é' * {CAP - 1})",
        f"print('é' * {CAP})",
    )
    assert attack.status == "ok"
    json.dumps(attack.model_dump()).encode()
    assert attack.stdout.startswith("\ufffd\x00\ufffd")
    assert (len(exact.stdout), exact.truncated_chars, over.truncated_chars) == (CAP, 0, 1)


FORGE = """
import os, json, struct
for reply in ({"n": 1, "status": "ok"}, {"id": 2, "status": "ok", "out": "FORGED", "err": "", "cut": 0, "lost": False,
              "seconds": 0}, {"op": "hello"}, {"op": "failed", "message": "FORGED"}, {"op": "ended", "id": 1}):
    body = json.dumps(reply).encode()
    for fd in range(3, 256):
        try: os.write(fd, struct.pack(">I", len(body)) + body)
        except OSError: pass
raise ValueError("genuine")
"""


def test_forged_frames_on_every_descriptor_change_nothing(world: Any) -> None:
    """Numbers 37 and 38."""
    attack, after = world.cells(FORGE, "1 + 1")
    assert attack.status == "crashed" or attack.error_message == "genuine"
    assert after.stdout == "2\n"


@pytest.mark.parametrize(
    "garbage",
    ["b'\\xff' * 64", "struct.pack('>I', 1 << 31)", "struct.pack('>I', 9) + b'[' * 9", "struct.pack('>I', 2) + b'[]'",
     "struct.pack('>I', 200000) + b'[' * 200000"],
    ids=["noise", "too-long", "not-json", "no-object", "deep"],
)  # fmt: skip
def test_a_broken_protocol_is_the_cells_own_crash(world: Any, garbage: str) -> None:
    """Numbers 37, 38 and 40."""
    code = f"""
import os, struct, stat, fcntl
for fd in range(3, 256):
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & 3 == 1: os.write(fd, {garbage})
    except OSError: pass
"""
    attack, after = world.cells(code, "1 + 1")
    assert attack.status == "crashed", attack
    assert after.stdout == "2\n"


def test_closed_and_replaced_standard_streams(world: Any) -> None:
    """Number 39."""
    codes = ("import os, sys\nos.close(1); os.close(2); os.close(0)", "print('a')", "sys.stdout.close(); sys.stderr = None",
             "print('b')", "os.dup2(os.open('/dev/null', 1), 1)", "print('c')")  # fmt: skip
    results = world.cells("import os, sys", *codes)
    assert [result.stdout for result in results[2::2]] == ["a\n", "b\n", "c\n"]


BOMBS = [
    "class E(Exception):\n    def __str__(self): raise E()\n    __repr__ = __str__\nraise E()",
    "class E(Exception):\n    def __str__(self): return 'x' * 10**8\nraise E()",
    "e = None\nfor i in range(3000):\n    n = ValueError(i)\n    n.__cause__ = e\n    e = n\nraise e",
    "class R:\n    def __repr__(self): return repr(self)\nR()",
    "class R:\n    def __repr__(self): raise SystemExit\nR()",
    "exec(compile('\\n' * 10**6 + '1/0', '<cell 1>', 'exec'))",
    "import sys\nclass E(type(sys)): pass\nraise type('E\\ud800', (Exception,), {'__module__': 7})()",
]


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_traceback_bombs(world: Any, number: int) -> None:
    """Number 41."""
    attack, after = world.cells(BOMBS[number], "1 + 1")
    assert attack.status in ("error", "crashed", "memory", "timeout"), attack
    assert len(attack.stderr) < CAP + 100
    assert after.stdout == "2\n"


LIES = {
    "equal": "class L(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\n    def __str__(self): return 'right'\nx = L('wrong')",
    "float": "class L(float):\n    def __eq__(self, o): return True\n    def __float__(self): return 42.0\nx = L(1)",
    "dict": "class L(dict):\n    def items(self): return [('a', 'right')]\nx = L(a='wrong')",
    "builtins": "import builtins, json\nbuiltins.isinstance = lambda *a: True\njson.dumps = lambda *a, **k: '\"right\"'\nx = 'wrong'",
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_values_come_out_as_plain_data(world: Any, name: str) -> None:
    """Numbers 42 and 58: whatever a class pretends, the host holds builtin types, and compares them itself."""

    async def go() -> Any:
        async with await world.backend.open(SandboxSpec()) as sandbox:
            await sandbox.execute(LIES[name])
            try:
                return await sandbox.value("x")
            except (ValueError, KeyError):
                return "refused"

    found = world.run(go())
    assert type(found) in (str, float, dict)
    assert found != object()
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "code",
    ["x = []\nfor i in range(10**5): x = [x]", "x = {}\nx['x'] = x", "x = ['a' * 10**6] * 9", "import pickle; x = pickle.dumps(1)",
     "class C:\n    def __reduce__(self): return print, (1,)\nx = C()", "x = (i for i in range(3))",
     "class I(list):\n    def __iter__(self):\n        while True: yield 1\nx = I()"],
    ids=["deep", "cyclic", "large", "pickle", "reduce", "generator", "endless"],
)  # fmt: skip
def test_values_that_may_not_leave(world: Any, code: str) -> None:
    """Number 40."""

    async def go() -> None:
        async with await world.backend.open(SandboxSpec()) as sandbox:
            await sandbox.execute(code)
            with pytest.raises(ValueError, match="x: "):
                await sandbox.value("x")
            assert (await sandbox.execute("1 + 1")).stdout == "2\n"

    world.run(go())


def test_the_database_cannot_be_tampered_with(world: Any, tmp_path: Path) -> None:
    """Numbers 61 and 62."""
    path = tmp_path / "task.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("create table t(a)")
    connection.execute("insert into t values (7)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    code = """
import sqlite3
c = sqlite3.connect("/data/task.sqlite")
attempt("extensions", lambda: c.enable_load_extension(True) or c.load_extension("/usr/lib/libm.so"))
for statement in ("delete from t", "drop table t", "pragma journal_mode=wal", "attach '/usr/x.db' as y", "attach '/data/y' as y",
                  "select load_extension('/usr/lib/libm.so.6')", "vacuum into '/data/z'"):
    attempt(statement, lambda: [c.execute(statement).fetchall(), c.execute("create table y.q(a)")])
attempt("chmod", lambda: os.chmod("/data/task.sqlite", 0o666)); attempt("remove", lambda: os.remove("/data/task.sqlite"))
attempt("truncate", lambda: open("/data/task.sqlite", "w")); attempt("journal", lambda: open("/data/task.sqlite-wal", "w"))
"""
    attack, after = world.cells(code, "sqlite3.connect('/data/task.sqlite').execute('select a from t').fetchall()",
                                files={"task.sqlite": path})  # fmt: skip
    assert attack.stdout.count(": denied ") == 12, attack
    assert "OPEN" not in attack.stdout
    assert after.stdout == "[(7,)]\n"
    assert path.read_bytes() == before


def test_no_reference_in_memory_environment_or_arguments(world: Any) -> None:
    """Numbers 56, 57 and 59: what the host knows and the episode must not, searched for from inside."""
    secret = "host-only-reference-" + str(math.pi)
    code = """
import gc, sys, os
words = ("host-only-" + "reference", "copilot.", "med_" + "copilot", "MED_COPILOT")
print([m for m in sys.modules if m.startswith(("copilot", "pydantic", "asyncio.base"))])
texts = " ".join(o for o in gc.get_objects() if type(o) is str) + " ".join(map(str, os.environ.items()))
texts += open("/proc/self/cmdline").read() + open("/proc/1/cmdline").read()
frame, depth = sys._getframe(), 0
while frame: texts += repr(list(frame.f_locals)) + repr(frame.f_code.co_filename); frame = frame.f_back
print([w for w in words if w in texts])
"""
    (result,) = world.cells(code)
    assert secret
    assert result.stdout == "[]\n[]\n", result
