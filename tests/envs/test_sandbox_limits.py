"""Where the kernel refuses user namespaces: a lower level, reported, taken only when the recipe allows it.

Run for real, in a user namespace that allows no further ones, as a user without privilege.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

AS_NOBODY = "exec setpriv --reuid 65534 --regid 65534 --clear-groups"
SETUP = f"""
set -e
mkdir -p "$1/prefix"; mount --bind "$2" "$1/prefix"
if ! {AS_NOBODY[5:]} test -x "$2"; then
    top=/$(echo "$2" | cut -d/ -f2)
    mount -t tmpfs -o mode=755 none "$top"; mkdir -p "$2"; mount --bind "$1/prefix" "$2"
fi
shift 2
"""
REFUSED = SETUP + (
    AS_NOBODY + " unshare -U --map-user=1000 --map-group=1000 --keep-caps sh -c "
    '\'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --ambient-caps=-all "$@"\' sh "$@"'
)
ALLOWED = f'{SETUP}{AS_NOBODY} "$@"'
CODE = """
import asyncio, json, sys
from copilot.envs.sandboxes import layout, SandboxConfig, SandboxLimits, SandboxSpec, make_backend
from copilot.errors import SandboxError
CELLS = ["import pandas as pd, os, socket\\nint(pd.Series([1, 2]).sum())", "os.kill(os.getppid(), 9)",
         "os.listdir('/tmp')", "open('/etc/passwd')", "open('../data/t').read()", "open('../data/t', 'a')",
         "open('f', 'w').write('x')", "socket.socket()", "os._exit(2)", "1 + 1"]
def refuse():
    raise SandboxError("as a kernel would that lets bwrap alone make namespaces")
if "bwrap" in sys.argv:
    layout.plan = refuse
async def main():
    try:
        await make_backend(SandboxConfig()).start()
        refused = False
    except SandboxError:
        refused = True
    backend = make_backend(SandboxConfig(require="limits", limits=SandboxLimits(memory_mb=256)))
    isolation = await backend.start()
    sandbox = await backend.open(SandboxSpec(files={"t": sys.argv[1]}))
    results = [(await sandbox.execute(code)).model_dump() for code in CELLS]
    await backend.close()
    print(json.dumps([refused, isolation.level, isolation.properties["namespaces"], results]))
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user whose namespaces are refused")
@pytest.mark.skipif(not (shutil.which("setpriv") and shutil.which("unshare")), reason="needs setpriv and unshare")
@pytest.mark.parametrize(("script", "argument", "namespaces"), [
    (REFUSED, "alone", "none of its own"),
    pytest.param(ALLOWED, "bwrap", "user mnt pid net ipc uts (shared by the episodes)",
                 marks=pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bwrap")),
], ids=["limits", "bwrap"])  # fmt: skip
def test_refused_namespaces_give_limits_and_say_so(script: str, argument: str, namespaces: str) -> None:
    work = Path("/tmp") / f"limits-{os.getpid()}"
    work.mkdir(mode=0o755)
    (work / "t").write_text("table")
    prefix = str(Path(sys.base_prefix).resolve())
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(work), prefix, sys.executable, "-B", "-c", CODE]
    try:
        done = subprocess.run(
            [*command, str(work / "t"), argument], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
        )
    finally:
        shutil.rmtree(work)
    assert done.returncode == 0, done.stderr[-3000:]
    refused, level, seen, results = json.loads(done.stdout)
    assert refused
    assert (level, seen) == ("limits", namespaces)
    kinds = [result["error_type"] or result["stdout"] or result["status"] for result in results]
    denied = "PermissionError"
    kinds = [denied if kind == "FileNotFoundError" else kind for kind in kinds]  # bubblewrap does not show it at all
    assert kinds == ["3\n", denied, denied, denied, "'table'\n", denied, "1\n", denied, "crashed", "2\n"]
