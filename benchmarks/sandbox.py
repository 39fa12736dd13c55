"""How fast and how small the sandboxes are, side by side with what else people run model code in.

Start-to-first-cell with pandas, the time a cell costs on top of its own work, a kill, new episodes per second with 1,
16 and 256 workers, and memory of 256 live episodes. ``local`` and its rivals start in turns, so that a busy machine
is as busy for each.

    python benchmarks/sandbox.py [--quick] [--peers PYTHON] [--no-docker]

``--peers`` names an interpreter with the peers installed: smolagents, swe-rex, jupyter_client + ipykernel, pandas.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _common import write_result

from copilot.envs.sandboxes import DockerConfig, SandboxBackend, SandboxConfig, SandboxLimits, SandboxSpec, make_backend
from copilot.envs.sandboxes.local import Backend as Local
from copilot.errors import SandboxError

FIRST = "import pandas as pd\nprint(pd.DataFrame({'a': [1, 2]}).a.sum())"
LIMITS = SandboxLimits(memory_mb=512)
ISOLATES = {
    "local": "namespaces; read-only root; caps on memory, processes, disk, output; seccomp",
    "docker single": "a hardened container per episode; caps as local",
    "docker shared": "namespaced episodes inside a hardened container",
    "subprocess": "nothing: host files, network, environment",
    "bwrap": "namespaces; no caps on memory, processes or output",
    "docker run": "a hardened container; a process per call, no state between cells",
    "jupyter kernel": "nothing",
    "smolagents local": "an AST interpreter with an import list; in the same process, no kill",
    "smolagents docker": "a container with the default network, as root; no caps",
    "llm-sandbox docker": "a container with the default network, as root; no caps, no state between cells",
    "swe-rex local": "nothing: a shell on the host",
}
PEER_NAMES = ("jupyter kernel", "smolagents local", "smolagents docker", "llm-sandbox docker", "swe-rex local")

Times = list[float]


def figures(times: Times) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds."""
    ordered = sorted(times)
    return {
        "median": round(statistics.median(ordered) * 1e3, 3),
        "p95": round(ordered[int(len(ordered) * 0.95)] * 1e3, 3),
    }


async def start_once(backend: SandboxBackend) -> tuple[float, float]:
    """Seconds from asking for an episode to its first answered pandas cell, and seconds to close it."""
    began = time.perf_counter()
    sandbox = await backend.open(SandboxSpec())
    result = await sandbox.execute(FIRST)
    took = time.perf_counter() - began
    assert result.stdout == "3\n", result
    began = time.perf_counter()
    await sandbox.close()
    return took, time.perf_counter() - began


async def acquire_times(backend: SandboxBackend, count: int, pause: float) -> Times:
    """Seconds to open an episode when the pool had ``pause`` seconds to fill up."""
    times = []
    for _ in range(count):
        await asyncio.sleep(pause)
        began = time.perf_counter()
        sandbox = await backend.open(SandboxSpec())
        times.append(time.perf_counter() - began)
        await sandbox.close()
    return times


async def cell_times(backend: SandboxBackend, count: int) -> Times:
    """Seconds of a round trip of the empty cell."""
    async with await backend.open(SandboxSpec()) as sandbox:
        times = []
        for number in range(count + 50):
            began = time.perf_counter()
            await sandbox.execute("pass")
            if number >= 50:
                times.append(time.perf_counter() - began)
        return times


def bare_cell() -> float:
    """Seconds that compiling and running the empty cell takes by itself."""
    import ast

    times = []
    for _ in range(2000):
        began = time.perf_counter()
        exec(compile(ast.parse("pass", "<cell>"), "<cell>", "exec"), {})
        times.append(time.perf_counter() - began)
    return statistics.median(times)


RELAY = """
import os, sys
up, down = int(sys.argv[1]), os.pipe()
back = os.pipe()
if os.fork() == 0:
    os.close(up)
    os.close(down[1])
    while data := os.read(down[0], 65536):
        os.write(back[1], data)
    os._exit(0)
while data := os.read(up, 65536):
    os.write(down[1], data)
    os.write(up, os.read(back[0], 65536))
"""


async def floor(count: int) -> Times:
    """Seconds of an echo host -> supervisor -> interpreter -> supervisor -> host by bare Python processes."""
    ours, theirs = socket.socketpair()
    with subprocess.Popen([sys.executable, "-c", RELAY, str(theirs.fileno())], pass_fds=[theirs.fileno()]):
        theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        times = []
        for number in range(count + 50):
            began = time.perf_counter()
            await loop.sock_sendall(ours, b"x" * 100)
            await loop.sock_recv(ours, 65536)
            if number >= 50:
                times.append(time.perf_counter() - began)
        ours.close()
    return times


async def kill_time(backend: SandboxBackend, count: int) -> Times:
    """Seconds from a cell's time limit until a stubborn cell is dead and its replacement has answered."""
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    times = []
    async with await backend.open(SandboxSpec()) as sandbox:
        for _ in range(count):
            began = time.perf_counter()
            await sandbox.execute(code, timeout=0.1)
            await sandbox.execute("1")
            times.append(time.perf_counter() - began - 0.1)
    return times


async def rate(backend: SandboxBackend, workers: int, seconds: float) -> float:
    """Episodes opened, used for one cell and closed per second by so many workers."""
    done = 0
    until = time.perf_counter() + seconds

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await start_once(backend)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return round(done / (time.perf_counter() - began), 1)


async def memory(backend: Local, count: int) -> float:
    """Summed PSS in GB of launcher, zygote and so many live episodes that have each used pandas."""
    sandboxes = []
    for start in range(0, count, 16):
        sandboxes += await asyncio.gather(*(backend.open(SandboxSpec()) for _ in range(start, min(start + 16, count))))
    await asyncio.gather(*(sandbox.execute(FIRST) for sandbox in sandboxes))
    total = sum(_pss(pid) for pid in _tree(backend.process_id))
    await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
    return round(total / 1e6, 3)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _tree(root: int) -> list[int]:
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # ended meanwhile
    found, layer = [root], {root}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer}
        found += layer
    return found


def process_once(command: list[str]) -> float:
    """Seconds of a process that imports pandas and prints."""
    began = time.perf_counter()
    done = subprocess.run([*command, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"
    return time.perf_counter() - began


def bwrap_command() -> list[str]:
    """bwrap with every namespace, the interpreter and the system read-only."""
    wanted = ("/usr", "/bin", "/lib", "/lib64", sys.base_prefix, sys.prefix, *filter(None, sys.path))
    binds = [path for path in dict.fromkeys(wanted) if Path(path).exists()]
    shown = [part for path in binds for part in ("--ro-bind", path, path)]
    return ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv", "--tmpfs", "/tmp", *shown, "--proc", "/proc",
            "--dev", "/dev", sys.executable]  # fmt: skip


def docker_command() -> list[str]:
    """A hardened ``docker run`` of the same image."""
    flags = (
        "--rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 64 --memory 512m"
    )
    return ["docker", "run", *flags.split(), "--user", "65532", "--entrypoint", "python3", DockerConfig().image]


async def measure_local(quick: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The local backend with bwrap and a bare process in turns."""
    backend = Local(SandboxConfig(limits=LIMITS))
    await backend.start()
    rivals = {"subprocess": [sys.executable]} | ({"bwrap": bwrap_command()} if shutil.which("bwrap") else {})
    starts: Times = []
    closes: Times = []
    others: dict[str, Times] = {name: [] for name in rivals}
    for _ in range(5 if quick else 20):
        for _ in range(5):
            took, closed = await start_once(backend)
            starts.append(took)
            closes.append(closed)
        for name, command in rivals.items():
            others[name].append(process_once(command))
    cells, bare = await cell_times(backend, 300 if quick else 3000), bare_cell()
    echo = await floor(300 if quick else 3000)
    seconds = 2.0 if quick else 8.0
    rates = {workers: await rate(backend, workers, seconds) for workers in (1, 16, 256)}
    held = 32 if quick else 256
    gigabytes = await memory(backend, held)
    row = {"system": "local", **_row(starts, cells), "close_ms": figures(closes)["median"],
           "kill_ms": figures(await kill_time(backend, 5))["median"],
           **{f"per_s_{workers}": value for workers, value in rates.items()},
           "mb_each": round(gigabytes * 1000 / held, 2), "isolates": ISOLATES["local"]}  # fmt: skip
    await backend.close()
    summary = {
        "local_start_ms": row["start_ms"],
        "local_start_p95_ms": row["start_p95_ms"],
        "local_cell_ms": row["cell_ms"],
        "local_cell_overhead_ms": round(row["cell_ms"] - bare * 1e3, 4),
        "bare_cell_ms": round(bare * 1e3, 4),
        "three_process_echo_ms": figures(echo)["median"],
        "local_kill_ms": row["kill_ms"],
        "local_episodes_per_s": max(rates.values()),
        f"local_{held}_pss_gb": gigabytes,
    }
    rows = [row]
    for name, times in others.items():
        found = figures(times)
        rows.append(
            {"system": name, "start_ms": found["median"], "start_p95_ms": found["p95"], "isolates": ISOLATES[name]}
        )
    if "bwrap" in others:
        summary["local_start_vs_bwrap_ratio"] = round(figures(others["bwrap"])["median"] / row["start_ms"], 1)
    return rows, summary


def _row(starts: Times, cells: Times) -> dict[str, Any]:
    return {"start_ms": figures(starts)["median"], "start_p95_ms": figures(starts)["p95"],
            "cell_ms": figures(cells)["median"], "cell_p95_ms": figures(cells)["p95"]}  # fmt: skip


async def measure_docker(mode: str, quick: bool) -> tuple[dict[str, Any], dict[str, float]]:
    """A mode of the docker backend."""
    config = DockerConfig(mode=mode, warm=4 if mode == "single" else 1)  # type: ignore[arg-type]
    backend = make_backend(SandboxConfig(type="docker", require="container", limits=LIMITS, docker=config))
    await backend.start()
    try:
        cells, bare = await cell_times(backend, 200 if quick else 2000), bare_cell()
        acquired = await acquire_times(backend, 3 if quick else 10, 8.0 if mode == "single" else 0.1)
        starts = [(await start_once(backend))[0] for _ in range(4 if quick else 12)]
        rates = {workers: await rate(backend, workers, 4.0 if quick else 15.0) for workers in (1, 16)}
        kills = await kill_time(backend, 3)
    finally:
        await backend.close()
    row = {"system": f"docker {mode}", **_row(starts, cells), "kill_ms": figures(kills)["median"],
           **{f"per_s_{workers}": value for workers, value in rates.items()},
           "isolates": ISOLATES[f"docker {mode}"]}  # fmt: skip
    best = max(rates.values())
    if mode == "shared":
        return row, {"docker_shared_episodes_per_s": best, "docker_shared_start_ms": row["start_ms"]}
    return row, {
        "docker_cell_overhead_ms": round(row["cell_ms"] - bare * 1e3, 4),
        "docker_acquire_ms": figures(acquired)["median"],
        "docker_single_episodes_per_s": best,
    }


def measure_peer(python: str, name: str) -> dict[str, Any]:
    """A peer, in its own environment, or why not."""
    script = Path(__file__).with_name("_sandbox_peers.py")
    done = subprocess.run([python, str(script), name], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        return {"system": name, "note": done.stderr.strip().splitlines()[-1][:80], "isolates": ISOLATES[name]}
    found = json.loads(done.stdout.splitlines()[-1])
    start, cell = (figures(found[key])["median"] for key in ("starts", "cells"))
    return {"system": name, "start_ms": start, "cell_ms": cell, "isolates": ISOLATES[name]}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, 32 episodes for memory")
    parser.add_argument("--peers", default="", help="interpreter of an environment with the peers")
    parser.add_argument("--no-docker", action="store_true")
    options = parser.parse_args()
    rows, summary = asyncio.run(measure_local(options.quick))
    for mode in () if options.no_docker else ("single", "shared"):
        try:
            row, found = asyncio.run(measure_docker(mode, options.quick))
        except SandboxError as error:
            row, found = {"system": f"docker {mode}", "note": error.what[:80]}, {}
        rows.append(row)
        summary |= found
    if not options.no_docker and shutil.which("docker"):
        times = [process_once(docker_command()) for _ in range(3 if options.quick else 8)]
        rows.append({"system": "docker run", "start_ms": figures(times)["median"], "isolates": ISOLATES["docker run"]})
    rows += [measure_peer(options.peers, name) for name in PEER_NAMES] if options.peers else []
    write_result("sandbox", summary=summary, rows=rows, seed=0)


if __name__ == "__main__":
    main()
