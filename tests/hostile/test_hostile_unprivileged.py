"""The whole hostile suite again on the local wall, by a user without any privilege.

Needs root to become somebody else. The interpreter may lie under a home directory that others cannot enter; a private
mount namespace then shows that directory, and only it, at its path.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPT = """
set -e
mkdir -p "$1/prefix"; mount --bind "$2" "$1/prefix"
if ! setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$2"; then
    top=/$(echo "$2" | cut -d/ -f2)
    mount -t tmpfs -o mode=755 none "$top"; mkdir -p "$2"; mount --bind "$1/prefix" "$2"
fi
shift 2
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="already unprivileged")
@pytest.mark.skipif(not (shutil.which("setpriv") and shutil.which("unshare")), reason="needs setpriv and unshare")
def test_the_suite_holds_for_nobody() -> None:
    work = Path("/tmp") / f"hostile-{os.getpid()}"
    work.mkdir(mode=0o755)
    (work / "pytest").mkdir()
    os.chown(work / "pytest", 65534, 65534)
    files = sorted(str(path) for path in HERE.glob("test_hostile_*.py") if path.name != Path(__file__).name)
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "local", *files]
    command += [f"--basetemp={work}/pytest/base", f"--rootdir={HERE.parent.parent}"]
    prefix = str(Path(sys.base_prefix).resolve())
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", str(work), prefix, *command],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=HERE.parent.parent,
            env={"PATH": os.environ["PATH"], "HOME": str(work), "LANG": "C.UTF-8"},
            check=False,
        )
    finally:
        shutil.rmtree(work)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout or "[100%]" in done.stdout
