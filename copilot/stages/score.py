"""Stage ``score``: a trained verifier scores the episodes of sample stages; what is scored is not read again."""

import asyncio
import time
from typing import Annotated, Any, Literal

from pydantic import Field

from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.stages.base import Stage, StageConfig, StageContext, stage_ids


class ScoreConfig(StageConfig):
    """Score trajectories."""

    type: Literal["score"] = "score"
    """This stage."""
    verifier: str
    """A ``verifier`` stage's id, or a verifier's folder (with a ``/``)."""
    trajectories: list[str] = Field(min_length=1)
    """``sample`` stages by id, or folders (with a ``/``)."""
    engine: Annotated[TransformersConfig | VllmConfig, Field(discriminator="type")] = Field(
        default_factory=TransformersConfig
    )
    """``transformers`` (in process, both heads) or ``vllm`` (the YES/NO head, prefix-cached)."""

    def upstream(self) -> list[str]:
        """Verifier and stores; a name with a ``/`` is a folder."""
        return stage_ids(self.verifier, *self.trajectories)


def run(config: ScoreConfig, ctx: StageContext) -> dict[str, Any]:
    """Write ``scores.jsonl``; returns it with the stores it speaks of, the verifier and the figures."""
    import torch

    from copilot.verifier.factory import make_scorer
    from copilot.verifier.scores import read_scorable, score_missing

    stores = {name: ctx.locate(name, "trajectories") for name in config.trajectories}
    folder = ctx.locate(config.verifier, "weights")
    samples, masked = read_scorable(stores)
    device = ctx.local_rank if torch.cuda.is_available() else None
    scorer = make_scorer(folder, config.engine, log_folder=ctx.folder / "logs", device=device)
    path, began = ctx.folder / "scores.jsonl", time.perf_counter()

    async def score() -> int:
        await scorer.start()
        try:
            return await score_missing(scorer, samples, path)
        finally:
            await scorer.close()

    scored = asyncio.run(score())
    seconds = time.perf_counter() - began
    figures = {"count": len(samples), "masked": masked, "cut": scorer.cut}
    ctx.log(**figures, scored=scored, tokens=scorer.tokens, seconds=round(seconds, 2))
    return {
        "scores": str(path),
        "stores": {name: str(store) for name, store in stores.items()},
        "verifier": str(folder),
        **figures,
    }


STAGE = Stage(ScoreConfig, run, distributed=False)
