"""A recipe is validated as a whole before anything runs."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.errors import RecipeError
from copilot.recipe.folder import recipe_yaml
from copilot.recipe.loader import load_recipe

Write = Callable[..., Path]
ONE = {"id": "one", "type": "lines"}
TWO = {"id": "two", "type": "lines", "after": "one"}

HEADER = 'if __name__ == "__main__": import copilot.recipe; copilot.recipe.main(__file__); r"""\n'


def test_the_polyglot_header_changes_nothing(write_recipe: Write) -> None:
    path = write_recipe(ONE, TWO)
    plain = load_recipe(path)
    text = path.read_text()
    path.write_text("#!/usr/bin/env -S med-copilot run\n" + HEADER + text + '# """\n')
    ast.parse(path.read_text())
    assert load_recipe(path) == plain


def test_the_resolved_recipe_loads_to_the_same(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(ONE, TWO, seed=7))
    again = tmp_path / "again.yaml"
    again.write_text(recipe_yaml(recipe))
    assert load_recipe(again) == recipe


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sede": 1}, "unknown key 'sede' (did you mean 'seed'?)"),
        ({"name": "../x"}, "no folder name"),
        ({"data_use": "permitted"}, "needs a data_use_reason"),
        ({"model": {}}, "model.path"),
        ({"seed": "many"}, "seed"),
    ],
)
def test_faults_of_the_recipe(write_recipe: Write, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(ONE, **change))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "there is none"),
        (["text"], "a stage is a mapping"),
        ([{"id": "one"}], "has no type"),
        ([{"id": "one", "type": "line"}], "no stage of type 'line' (did you mean 'lines'?)"),
        ([{**ONE, "cuont": 1}], "unknown key 'cuont' (did you mean 'count'?)"),
        ([ONE, {**TWO, "id": "one"}], "used by an earlier stage"),
        ([TWO, ONE], "it comes later"),
        ([ONE, {**TWO, "after": "oen"}], "did you mean 'one'?"),
        ([{**ONE, "id": "a/b"}], "no folder name"),
        ([{**ONE, "id": "seed"}], "a key of the recipe"),
    ],
)
def test_faults_of_stages(write_recipe: Write, stages: list[Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(*stages))
    assert said in str(caught.value)


def test_every_fault_is_in_the_one_error(write_recipe: Write) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe({**ONE, "cuont": 1}, {**TWO, "pause": "long"}))
    assert "cuont" in str(caught.value)
    assert "pause" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "is no override"),
        ("=3", "is no override"),
        ("sede=1", "did you mean 'seed'?"),
        ("onee.count=1", "did you mean 'one'?"),
        ("stages=[]", "names neither"),
        ("one.cuont=1", "did you mean 'count'?"),
        ("name.x=1", "cannot be set"),
        ("one.type.x.y=1", "nothing to step into"),
        ("one.count=[", "not YAML"),
    ],
)
def test_faults_of_overrides(write_recipe: Write, override: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(ONE), [override])
    assert said in str(caught.value)


def test_overrides_reach_recipe_and_stages(write_recipe: Write) -> None:
    recipe = load_recipe(write_recipe(ONE, TWO), ["seed=5", "wandb.project=p", "two.pause=1e-3", "one.source=a=b"])
    one, two = recipe.typed_stages()
    assert (recipe.seed, recipe.wandb.project) == (5, "p")
    assert two.model_dump()["pause"] == 0.001
    assert one.model_dump()["source"] == "a=b"


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_notation_of_a_number_is_that_number(value: float) -> None:
    from copilot.recipe.loader import _parse_yaml

    for text in (repr(value), f"{value:.17e}", f"{value:e}"):
        parsed = _parse_yaml(text, where="test")
        assert isinstance(parsed, float)
        assert parsed == float(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("name: [", "not YAML"), ("- a", "no mapping"), ("name: a\nname: b", "there twice"), ("", "no mapping")],
)
def test_files_that_are_no_recipes(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe(tmp_path / "none.yaml")
