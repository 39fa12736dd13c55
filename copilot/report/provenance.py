"""Where a figure comes from: the command, commit, machine, seed and date that made it (DESIGN section 7)."""

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from copilot.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def provenance(*, seed: int, command: str | None = None) -> dict[str, Any]:
    """The first fields of every results file.

    Args:
        seed: Of the run.
        command: What a reader types to repeat it; ``None``: what this process was started with.
    """
    return {
        "command": command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "version": __version__,
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def machine() -> str:
    """Processor, cores, memory, GPUs and Python, in a line."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if "model name" in line), "")
    vectors = "AVX-512" if "avx512f" in info else "AVX2" if "avx2" in info else "no AVX2"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = f"{model or platform.machine()} ({vectors}), {os.cpu_count()} cores, {memory:.0f} GiB"
    return ", ".join([where, *_gpus(), f"Python {platform.python_version()}"])


def commit() -> str:
    """Short hash of the checkout; ``-dirty`` when tracked files differ from it; ``none`` when installed without one."""
    head = _git("rev-parse", "--short", "HEAD") or "none"
    return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else head


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _git(*arguments: str) -> str:
    # Empty outside a checkout, and in one that belongs to somebody else.
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
