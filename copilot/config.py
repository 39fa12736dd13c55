"""Typed configuration: unknown keys are errors with a suggestion, and nothing heavy is imported.

Every config class of the project derives from :class:`StrictModel`; a string below each field is its
documentation (checked by a test). Records that travel (tasks, trajectories) derive from :class:`Record`.
"""

from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from copilot.errors import RecipeError, did_you_mean


class StrictModel(BaseModel):
    """A config section: unknown keys are refused, fields are documented and validated on assignment."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_assignment=True)


class Record(BaseModel):
    """A piece of data that goes to disk: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)

    def evolve(self, **changes: Any) -> Self:
        """A copy with ``changes``, validated like a new record."""
        return type(self).model_validate({**dict(self), **changes})


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], raw: object, *, where: object) -> M:
    """Validate ``raw`` as ``model``; a failure becomes one :class:`RecipeError` that lists every fault.

    Args:
        model: The pydantic class.
        raw: Parsed YAML or JSON.
        where: File or key shown in the error.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults = [_fault(model, dict(item)) for item in error.errors()]
        raise RecipeError("; ".join(faults), where=where, remedy="mend the keys named above") from error


def _fault(model: type[BaseModel], item: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{path or '(root)'}: {item['msg']} (got {item['input']!r:.80})"
    *parents, key = item["loc"]
    known = {name for owner in _models_at(model, parents) for name in owner.model_fields}
    return f"unknown key {path!r} ({did_you_mean(str(key), known)})"


def _models_at(model: type[BaseModel], parents: list[Any]) -> list[type[BaseModel]]:
    """The classes a location leads to, through optionals, lists and tagged unions (whose tag is a part)."""
    current = [model]
    for part in parents:
        tagged = [candidate for candidate in current if str(part) in _tags(candidate)]
        fields = [candidate.model_fields[part] for candidate in current if part in candidate.model_fields]
        if fields:
            current = [found for field in fields for found in _models_in(field.annotation)]
        elif tagged:
            current = tagged
    return current


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for arg in getattr(annotation, "__args__", ()) for found in _models_in(arg)]


def _tags(model: type[BaseModel]) -> set[str]:
    field = model.model_fields.get("type")
    return {str(arg) for arg in getattr(field.annotation, "__args__", ())} if field else set()
