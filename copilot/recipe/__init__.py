"""Runnable recipes: load, validate, supervise, cache, resume."""

from collections.abc import Sequence

__all__ = ["main"]


def main(path: str, argv: Sequence[str] | None = None) -> None:
    """Run the recipe at ``path``; what line 2 of a recipe file calls."""
    from copilot.recipe.entry import main as run

    run(path, argv)
