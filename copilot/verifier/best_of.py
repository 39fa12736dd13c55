"""Best-of-K at inference: of several episodes of one question, the one to believe.

With a verifier the highest score decides (what Best@K measures); without one, the majority does. Attempts that
infrastructure broke are left out; a single one is taken as it is.
"""

from collections.abc import Sequence
from pathlib import Path

from copilot.data.trajectory import Trajectory
from copilot.errors import DataError
from copilot.policy.config import TransformersConfig
from copilot.verifier.candidates import candidate
from copilot.verifier.factory import make_scorer
from copilot.verifier.selection import by_majority, by_score, pick


async def best_of(attempts: Sequence[Trajectory], verifier: str | Path = "") -> tuple[Trajectory, float | None]:
    """The chosen attempt, and the verifier's score of it.

    Args:
        attempts: Episodes of one question.
        verifier: A verifier's folder; empty: majority vote.

    Raises:
        DataError: Infrastructure broke every attempt of several.
    """
    if len(attempts) == 1 and not verifier:
        return attempts[0], None
    whole = [attempt for attempt in attempts if not attempt.masked]
    if not whole:
        failure = attempts[0].failure
        raise DataError(f"infrastructure broke all {len(attempts)} attempts, first: {failure}", remedy="try again")
    if not verifier:
        unscored = [candidate(attempt, 0.5) for attempt in whole]
        return whole[pick(unscored, by_majority)], None
    scorer = make_scorer(verifier, TransformersConfig(), log_folder=Path("logs"))
    await scorer.start()
    try:
        scores = await scorer.score(whole)
    finally:
        await scorer.close()
    chosen = pick([candidate(a, s) for a, s in zip(whole, scores, strict=True)], by_score)
    return whole[chosen], scores[chosen]
