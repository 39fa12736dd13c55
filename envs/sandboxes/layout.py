"""What of the host an episode may see: the interpreter, the system's libraries and tools, the scientific packages.

Everything is named here; what is not named is not there. The interpreter's own site-packages are covered by an empty
folder, and packages are chosen one by one, so that neither this project nor its suites (which hold references) nor
anything else installed beside it can be seen, however it was installed.
"""

import importlib.metadata
import re
import shutil
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

from copilot.errors import SandboxError

PACKAGES = ("pandas", "numpy", "scipy")
"""Distributions that cells can import, with what they require."""
OPTIONAL_PACKAGES = ("scikit-learn", "statsmodels")
"""The same, where installed."""
PRELOADED = (
    "pandas",
    "numpy",
    "scipy",
    "sqlite3",
    "json",
    "re",
    "math",
    "datetime",
    "statistics",
    "collections",
    "csv",
)
"""Modules in memory before the first episode."""
INSIDE = Path(__file__).parent / "inside"

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
LINKS = {
    "/tmp": "work/.tmp",
    "/dev/shm": "../work/.shm",
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
TEXTS = {
    "/etc/passwd": "root:x:0:0:root:/:/bin/sh\nagent:x:1000:1000:agent:/work:/bin/sh\n",
    "/etc/group": "root:x:0:\nagent:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_PYTHON, _SITE, _RUNNER = "/opt/python", "/opt/site", "/opt/runner"


def plan() -> dict[str, Any]:
    """What the launcher needs: binds, empty folders, links, files, and the zygote's settings."""
    links, binds = dict(LINKS), []
    for path in _SYSTEM:
        if Path(path).is_symlink():
            links[path] = str(Path(path).readlink())
        elif Path(path).exists():
            binds.append(_bind(path, path))
    binds += [{**_bind(path, path), "device": True} for path in _DEVICES]
    prefix, moved = _interpreter()
    if moved:
        binds.append(_bind(str(prefix), _PYTHON))
    site = [_bind(str(source), f"{_SITE}/{source.name}") for source in site_entries()]
    binds += [*site, _bind(str(INSIDE), f"{_RUNNER}/inside")]
    home = _PYTHON if moved else str(prefix)
    return {
        "binds": binds,
        "empty": [*_site_folders(prefix, home), *_system_site_folders()],
        "links": links,
        "texts": TEXTS,
        "plain": False,
        "root": "/tmp",
        "zygote": _zygote(prefix, home),
    }


def plain_plan(folder: Path) -> dict[str, Any]:
    """The same where namespaces are refused: host paths, of which Landlock shows as little as :func:`plan` would.

    Args:
        folder: An empty folder for links to the packages, copies of task files and the episodes' work.
    """
    prefix, _ = _interpreter()
    for name, mode in (("site", 0o755), ("store", 0o777), ("episodes", 0o777)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    folder.chmod(0o755)
    entries = site_entries()
    for source in entries:
        (folder / "site" / source.name).symlink_to(source)
    variables = {**environment(str(prefix)), "PYTHONPATH": str(folder / "site")}
    libraries = [
        str(path) for path in (*prefix.glob("lib/*"), *prefix.glob("lib/python3*/*")) if "-packages" not in path.name
    ]
    own = [path for path in libraries if not (Path(path) / "site-packages").exists()]
    system = [path for path in _SYSTEM if not (path == "/usr" and prefix == Path("/usr"))]
    settings = {
        "python": str(Path(sys._base_executable).resolve()),  # type: ignore[attr-defined]
        "paths": [str(folder / "site")],
        "runner": str(INSIDE.parent),
        "modules": list(PRELOADED),
        "environment": variables,
        "loader_environment": variables,
        "hide_after_import": [],
        "store": str(folder / "store"),
        "episodes": str(folder / "episodes"),
        "readable": [*system, *_DEVICES, str(prefix / "bin"), *own, str(folder / "site"), *map(str, entries)],
    }
    return {"plain": True, "zygote": settings}


def bwrap_plan(folder: Path) -> dict[str, Any] | None:
    """:func:`plain_plan` with the zygote inside bubblewrap, which may be let make namespaces where this process is not.

    One set of namespaces for all episodes: no network, nothing of the host's files; siblings are kept apart as there.
    """
    program = shutil.which("bwrap")
    if program is None:
        return None
    plan = plain_plan(folder)
    zygote = plan["zygote"]
    links = [path for path in _SYSTEM if Path(path).is_symlink()]
    shown = [path for path in zygote["readable"] if path not in (*links, *_DEVICES) and Path(path).exists()]
    zygote["wrap"] = [
        program, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "sandbox",
        *(part for path in (*shown, str(INSIDE)) for part in ("--ro-bind", path, path)),
        *(part for path in links for part in ("--symlink", str(Path(path).readlink()), path)),
        "--ro-bind", str(folder), str(folder),
        "--tmpfs", zygote["store"], "--tmpfs", zygote["episodes"],
        "--proc", "/proc", "--dev", "/dev", "--chdir", "/", "--",
    ]  # fmt: skip
    return plan


def environment(home: str, *, library_path: str = "") -> dict[str, str]:
    """The whole environment of an episode."""
    extra = {"LD_LIBRARY_PATH": library_path} if library_path else {}
    return {
        "PATH": f"{home}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/work",
        "TMPDIR": "/work/.tmp",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "USER": "agent",
        "PYTHONPATH": _SITE,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
        **extra,
    }


def _zygote(prefix: Path, home: str) -> dict[str, Any]:
    program = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    inside = f"{home}/{program.relative_to(prefix)}"
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED")) and home == _PYTHON
    variables = environment(home, library_path=f"{home}/lib" if shared else "")
    return {
        "python": inside,
        "paths": [_SITE],
        "runner": _RUNNER,
        "modules": list(PRELOADED),
        "environment": variables,
        "loader_environment": variables,
        "hide_after_import": [f"{_RUNNER}/inside"],
    }


def _bind(source: str, target: str) -> dict[str, Any]:
    return {"source": source, "target": target, "directory": Path(source).is_dir(), "device": False}


def _interpreter() -> tuple[Path, bool]:
    """The prefix of the interpreter under any virtual environment, and whether it must be bound on its own."""
    prefix = Path(sys.base_prefix).resolve()
    return prefix, not prefix.is_relative_to("/usr")


def _site_folders(prefix: Path, home: str) -> list[str]:
    """Site folders inside the interpreter's prefix, where they will lie in the sandbox."""
    found = [path for path in prefix.glob("lib*/python3*/*-packages") if path.is_dir()]
    return [f"{home}/{path.relative_to(prefix)}" for path in found]


def _system_site_folders() -> list[str]:
    roots = [Path("/usr/lib"), Path("/usr/local/lib")]
    prefix, _ = _interpreter()
    found = [path for root in roots for path in root.glob("python3*/*-packages") if path.is_dir()]
    return [str(path) for path in found if not path.is_relative_to(prefix) or prefix == Path("/")]


@cache
def site_entries() -> tuple[Path, ...]:
    """Top-level files and folders of :data:`PACKAGES` and all they require.

    Raises:
        SandboxError: One of them is not installed.
    """
    entries: dict[Path, None] = {}
    seen: set[str] = set()
    queue = [*PACKAGES, *OPTIONAL_PACKAGES]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = _distribution(name)
        if distribution is None:
            continue
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file.parts[0])))
            if file.parts[0] not in ("..", "__pycache__") and path.exists():
                entries[path] = None
        queue += [requirement for requirement in _required(distribution) if requirement not in seen]
    return tuple(sorted(entries))


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        if name in PACKAGES:
            raise SandboxError(f"package {name} is not installed", remedy=f"pip install {name}") from error
        return None


def _required(distribution: importlib.metadata.Distribution) -> list[str]:
    plain = [line for line in distribution.requires or () if "extra ==" not in line]
    return [re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0] for line in plain]
