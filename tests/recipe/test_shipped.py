"""Every shipped recipe is valid, runnable as a program, and plans without a model or a network."""

import ast
import os
import re
from pathlib import Path

import pytest

from copilot.recipe.folder import recipe_yaml
from copilot.recipe.loader import load_recipe
from copilot.recipe.plan import make_plan

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
HEADER = [
    "#!/usr/bin/env -S med-copilot run",
    'if __name__ == "__main__": import copilot.recipe; copilot.recipe.main(__file__); r"""',
]


def test_there_are_recipes() -> None:
    assert {"smoke", "sft_then_dpo", "sft_then_dpo_0.5b"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert re.fullmatch(r"[a-z0-9_-]+", recipe.name)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(recipe_yaml(recipe))
    assert load_recipe(resolved) == recipe
    monkeypatch.chdir(tmp_path)
    plan = make_plan(recipe)
    assert [planned.state for planned in plan] == ["run"] * len(recipe.stages)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_a_program(path: Path) -> None:
    text = path.read_text()
    assert text.splitlines()[:2] == HEADER
    assert text.endswith('\n# """\n')
    assert text.count('"""') == 2
    compile(text, str(path), "exec", ast.PyCF_ONLY_AST)
    assert os.access(path, os.X_OK)
