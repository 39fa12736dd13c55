"""Runnable recipes: load, validate, supervise, cache, resume."""

__all__ = ["main"]


def main(path: str) -> None:
    """Run the recipe at ``path``; what line 2 of a recipe file calls."""
    from copilot.recipe.entry import main as run

    run(path)
