"""Every module imports; imports point one way; what validates a recipe is light; the package list is whole."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "copilot": ROOT / "copilot",
    "copilot.envs": ROOT / "envs",
    "copilot.reward": ROOT / "reward",
    "copilot.data": ROOT / "data",
}
WORLD = ("copilot.envs", "copilot.reward", "copilot.data")
SHARED = {"copilot.errors", "copilot.config", "copilot.version"}
HEAVY = {"torch", "transformers", "vllm", "trl", "peft", "accelerate", "datasets", "deepspeed", "wandb"}
INSIDE = ("copilot.envs.sandboxes.inside",)
"""Runs in a sandbox's interpreter, never in ours."""


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts]).removesuffix(".__init__")
            if not name.startswith(INSIDE):
                found[name] = path
    return found


MODULES = modules()
CONFIGS = [name for name in MODULES if name.endswith((".config", ".schema")) or name.startswith("copilot.stages")]


def top_level_imports(path: Path) -> set[str]:
    """Modules imported when ``path`` is: what functions and ``TYPE_CHECKING`` blocks import does not count."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {str(node.module), *(f"{node.module}.{a.name}" for a in node.names)} & (
                MODULES.keys() | {str(node.module)}
            )
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            pending += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            pending += [
                *node.body,
                *node.orelse,
                *node.finalbody,
                *(s for handler in node.handlers for s in handler.body),
            ]
        elif isinstance(node, ast.ClassDef | ast.With):
            pending += node.body
    return found


def all_imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names} | {
        str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)
    }


def test_every_module_imports() -> None:
    """In one fresh interpreter, so that nothing is there by accident."""
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-P", "-c", code, *MODULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith(WORLD)])
def test_the_world_knows_nothing_of_its_users(name: str) -> None:
    ours = {m for m in all_imports(MODULES[name]) if m == "copilot" or m.startswith("copilot.")}
    assert not {m for m in ours if not m.startswith(WORLD) and m not in SHARED}
    assert not {m.split(".")[0] for m in top_level_imports(MODULES[name])} & HEAVY


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("copilot.reward")])
def test_rewards_know_no_sandbox(name: str) -> None:
    assert not {m for m in all_imports(MODULES[name]) if m.startswith("copilot.envs.sandboxes")}


def test_validating_a_recipe_imports_nothing_heavy() -> None:
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n    importlib.import_module(name)\n"
        f"print(*sorted({HEAVY!r} & sys.modules.keys()))\n"
    )
    names = [*CONFIGS, "copilot.cli", "copilot.commands.run", "copilot.recipe.entry", "copilot.recipe.child"]
    done = subprocess.run([sys.executable, "-P", "-c", code, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_package_list_is_whole() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {**FOLDERS, "copilot.launch": ROOT / "launch", "copilot.recipes": ROOT / "recipes"}
    there = {name if path.stem == "__init__" else name.rpartition(".")[0] for name, path in MODULES.items()}
    there |= {
        ".".join(["copilot.envs.sandboxes", *path.parent.relative_to(ROOT / "envs" / "sandboxes").parts])
        for path in (ROOT / "envs" / "sandboxes").rglob("*.py")
    }
    assert there - listed == set(), "add these to setup.cfg"
    for name in listed:
        root = max((package for package in folders if f"{name}.".startswith(f"{package}.")), key=len)
        folder = (
            folders[root].joinpath(*name.removeprefix(root).strip(".").split(".")) if name != root else folders[root]
        )
        assert folder.is_dir(), f"{name} is listed in setup.cfg and not there"
