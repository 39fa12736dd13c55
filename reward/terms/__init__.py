"""Reward terms: small functions of a recorded episode, added with the weights a recipe gives them.

A term is one module in this folder with a module-level ``TERM``; dropping the file in is all. Terms say what happened
(a share, a count), weights say what it is worth. Invariant: an episode that infrastructure broke has no reward at all,
and neither has one for which any term is ``None`` or NaN; such episodes are masked, never scored 0.
A verifier's score (:data:`VERIFIER`) is a term too, but one that takes a model: it is measured elsewhere and given.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from copilot.data.trajectory import Trajectory
from copilot.errors import RecipeError, did_you_mean

Term = Callable[[Trajectory], float | None]
"""What one term says of an episode; ``None``: it cannot say."""


VERIFIER = "verifier"
"""Name of the term that a trained verifier says."""


@dataclass(frozen=True)
class Reward:
    """What an episode earned."""

    total: float | None
    """Weighted sum; ``None``: the episode is masked."""
    terms: dict[str, float]
    """Each term before its weight; those that could say."""


def term_names() -> list[str]:
    """Names of all terms, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get_term(name: str) -> Term:
    """The term called ``name``.

    Raises:
        RecipeError: No such term.
    """
    if name not in term_names():
        raise RecipeError(f"no reward term {name!r}", where="rewards", remedy=did_you_mean(name, term_names()))
    term: Term = importlib.import_module(f"{__name__}.{name}").TERM
    return term


def reward_of(trajectory: Trajectory, weights: Mapping[str, float], *, score: float | None = None) -> Reward:
    """What an episode earned under ``weights``, term by term; ``score`` is what a verifier said of it."""
    if trajectory.masked:
        return Reward(total=None, terms={})
    said = {name: score if name == VERIFIER else get_term(name)(trajectory) for name in weights}
    terms = {name: value for name, value in said.items() if value is not None and math.isfinite(value)}
    if len(terms) < len(weights):
        return Reward(total=None, terms=terms)
    return Reward(total=sum(weight * terms[name] for name, weight in weights.items()), terms=terms)
