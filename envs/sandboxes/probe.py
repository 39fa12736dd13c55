"""Measures from inside an episode, and from outside, what a backend really isolates.

Every property is an observation: what a cell saw in /proc, what a call answered. Nothing is taken from a configuration.
"""

from pathlib import Path
from typing import Any

from copilot.envs.sandboxes.base import Isolation, Sandbox, SandboxBackend, SandboxSpec

_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts")
_CELL = """
import os, resource, socket
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts")
def _try(act):
    try:
        return act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
def _status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
def _write(path):
    with open(path, "w") as file:
        return file.write("x")
report = {
    "namespaces": {n: _try(lambda n=n: os.readlink(f"/proc/self/ns/{n}")) for n in NAMESPACES},
    "status": _try(lambda: {k: v.strip() for k, v in _status().items()}),
    "parent": os.getppid(),
    "pids": _try(lambda: len([p for p in os.listdir("/proc") if p.isdigit()])),
    "socket": _try(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect_ex(("192.0.2.1", 9))),
    "write_usr": _try(lambda: _write("/usr/.probe")),
    "write_work": _try(lambda: _write("probe")),
    "root": _try(lambda: sorted(os.listdir("/"))),
    "host": _try(lambda: os.uname().nodename),
    "space": _try(lambda: [os.statvfs(".").f_blocks * os.statvfs(".").f_frsize, os.statvfs(".").f_files]),
    "limits": {n: resource.getrlimit(getattr(resource, "RLIMIT_" + n))[1] for n in ("AS", "NPROC", "FSIZE", "NOFILE")},
    "environment": sorted(os.environ),
}
"""


async def observe(backend: SandboxBackend, *, container: bool = False) -> Isolation:
    """Open an episode, look around in it, and say what was found; ``container``: whether it runs in one."""
    async with await backend.open(SandboxSpec()) as sandbox:
        return judge("docker" if container else "local", await _report(sandbox))


async def _report(sandbox: Sandbox) -> dict[str, Any]:
    result = await sandbox.execute(_CELL)
    report = await sandbox.value("report") if result.status == "ok" else {"failed": result.stderr}
    return report if isinstance(report, dict) else {"failed": report}


def judge(backend: str, report: dict[str, Any]) -> Isolation:
    """Turn a probe's report into properties and a level."""
    seen = report.get("namespaces") or {}
    own = {name for name in _NAMESPACES if _differs(name, str(seen.get(name, "")))}
    found = report.get("status")
    status = found if isinstance(found, dict) else {}
    alone = report.get("parent") == 1
    properties = {
        "namespaces": (" ".join(name for name in _NAMESPACES if name in own) or "none of its own")
        + ("" if alone or not own else " (shared by the episodes)"),
        "filesystem": f"/: {report.get('root')}",
        "read_only": f"writing to /usr: {report.get('write_usr')}",
        "network": f"connecting out: {report.get('socket')}",
        "pids": f"{report.get('pids')} processes visible",
        "capabilities": f"effective {status.get('CapEff')}, bounding {status.get('CapBnd')}",
        "no_new_privs": str(status.get("NoNewPrivs")),
        "seccomp": {"2": "filter"}.get(str(status.get("Seccomp")), f"off ({status.get('Seccomp')})"),
        "memory": f"address space {report.get('limits', {}).get('AS')} bytes, watchdog on the episode's sum",
        "processes": str(report.get("limits", {}).get("NPROC")),
        "disk": f"{report.get('space')} bytes and inodes",
        "environment": " ".join(map(str, report.get("environment", []))),
    }
    limited = properties["seccomp"] == "filter"
    walled = limited and alone and set(_NAMESPACES) <= own and status.get("CapEff", "1").strip("0") == ""
    if backend == "docker" and limited and {"mnt", "pid", "net", "ipc", "uts"} <= own:
        return Isolation(backend=backend, level="container", properties=properties)
    return Isolation(
        backend=backend, level="namespaces" if walled else "limits" if limited else "none", properties=properties
    )


def _differs(name: str, inside: str) -> bool:
    outside = str(Path(f"/proc/self/ns/{name}").readlink())
    return inside.startswith(f"{name}:[") and inside != outside
