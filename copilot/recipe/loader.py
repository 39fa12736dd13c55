"""From a recipe file and overrides to a validated recipe, or one error that lists every fault.

A recipe may be a YAML/Python polyglot (so that ``accelerate launch FILE`` runs it): the one key its Python line
makes is dropped. Nothing is written and nothing heavy imported here.
"""

import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from copilot.config import parse
from copilot.errors import RecipeError, did_you_mean
from copilot.recipe.schema import Recipe
from copilot.stages.base import StageConfig, get_stage, stage_types

POLYGLOT_KEY = 'if __name__ == "__main__"'
"""What the Python line of a runnable recipe is to a YAML reader."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")


class _Loader(yaml.SafeLoader):
    """YAML with ``1e-4`` a number (YAML 1.1 reads a text) and a repeated key an error (YAML keeps the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read, override and validate a recipe.

    Args:
        path: A YAML file, with or without the Python line.
        overrides: ``KEY=VALUE`` texts. A key is a path: ``seed``, ``model.path``, or a stage's id and a key of that
            stage: ``sft.training.learning_rate``; a number picks an item of a list. The value is YAML.

    Returns:
        The recipe, its ``stages`` typed.

    Raises:
        RecipeError: Anything that keeps it from running: every fault is listed.
    """
    raw = read_yaml(Path(path))
    for override in overrides:
        _apply(raw, override)
    return validate(raw, where=path)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file, without the Python line's key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot read the recipe: {error}", where=path, remedy="give the path of a YAML file"
        ) from error
    raw = _parse_yaml(text, where=path)
    if not isinstance(raw, dict):
        raise RecipeError("not a recipe: the file holds no mapping", where=path, remedy="see docs/recipes.md")
    raw.pop(POLYGLOT_KEY, None)
    return raw


def validate(raw: dict[str, Any], *, where: object) -> Recipe:
    """The typed recipe, or one error with every fault of every stage."""
    recipe = parse(Recipe, raw, where=where)
    faults: list[str] = []
    if not _NAME.fullmatch(recipe.name):
        faults.append(f"name: {recipe.name!r} is no folder name (letters, digits, - and _)")
    if recipe.data_use == "permitted" and not recipe.data_use_reason.strip():
        faults.append("data_use: permitted needs a data_use_reason, which is recorded with the run")
    if not recipe.stages:
        faults.append("stages: there is none")
    stages: list[StageConfig] = []
    for index, entry in enumerate(recipe.stages):
        try:
            stages.append(_typed_stage(entry, index))
        except RecipeError as error:  # gathered, so that the reader mends the file once
            faults.append(f"{error.where}: {error.what}")
    if not faults:
        faults = [fault for index in range(len(stages)) for fault in _reference_faults(stages, index)]
    if faults:
        raise RecipeError("\n  - ".join(["cannot be run:", *faults]), where=where, remedy="mend the lines above")
    return recipe.model_copy(update={"stages": stages})


def _typed_stage(entry: object, index: int) -> StageConfig:
    where = f"stages.{index}"
    if not isinstance(entry, dict):
        raise RecipeError("a stage is a mapping with id and type", where=where)
    where = f"{where} ({entry.get('id', 'no id')})"
    kind = entry.get("type")
    if not isinstance(kind, str):
        raise RecipeError("the stage has no type", where=where)
    if kind not in stage_types():
        raise RecipeError(f"no stage of type {kind!r} ({did_you_mean(kind, stage_types())})", where=where)
    config: StageConfig = parse(get_stage(kind).config, entry, where=where)
    if not _NAME.fullmatch(config.id):
        raise RecipeError(f"id {config.id!r} is no folder name (letters, digits, - and _)", where=where)
    if config.id in Recipe.model_fields:
        raise RecipeError(
            f"id {config.id!r} is a key of the recipe itself; overrides could not tell them apart", where=where
        )
    return config


def _reference_faults(stages: list[StageConfig], index: int) -> list[str]:
    stage, earlier = stages[index], [s.id for s in stages[:index]]
    later = {s.id for s in stages[index + 1 :]}
    where = f"stages.{index} ({stage.id})"
    faults = [f"{where}: the id is used by an earlier stage, too"] if stage.id in earlier else []
    for ref in stage.upstream():
        if ref in earlier:
            continue
        hint = "it comes later" if ref in later else did_you_mean(ref, earlier) if earlier else "no stage comes before"
        faults.append(f"{where}: no earlier stage {ref!r} ({hint})")
    return faults


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"{override!r} is no override", remedy="write key=value, e.g. seed=1 or sft.training.epochs=2"
        )
    value = _parse_yaml(text, where=f"override {override!r}")
    entries = raw.get("stages")
    stages = {s["id"]: s for s in entries if isinstance(s, dict) and "id" in s} if isinstance(entries, list) else {}
    head, *rest = key.split(".")
    if head in stages and rest:
        node: Any = stages[head]
        parts = rest
    elif head in Recipe.model_fields and head != "stages":
        node, parts = raw, [head, *rest]
    else:
        known = [*(f for f in Recipe.model_fields if f != "stages"), *stages]
        raise RecipeError(
            f"override {override!r} names neither a recipe key nor a stage", remedy=did_you_mean(head, known)
        )
    for part in parts[:-1]:
        node = _step_into(node, part, override)
    _assign(node, parts[-1], value, override)


def _step_into(node: Any, part: str, override: str) -> Any:
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    if isinstance(node, dict):
        if node.get(part) is None:
            node[part] = {}
        return node[part]
    raise RecipeError(f"override {override!r}: there is nothing to step into at {part!r}", remedy="see --dry-run")


def _assign(node: Any, part: str, value: Any, override: str) -> None:
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        node[int(part)] = value
    elif isinstance(node, dict):
        node[part] = value
    else:
        raise RecipeError(f"override {override!r}: {part!r} cannot be set there", remedy="see --dry-run")


def _parse_yaml(text: str, *, where: object) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"not YAML: {error}", where=where, remedy="mend the line named above") from error
