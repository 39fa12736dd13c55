"""``med-copilot score``: a trained verifier scores stored trajectories, and picks one of each task's attempts."""

import asyncio
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from copilot.config import parse
from copilot.data.dataset import write_atomically
from copilot.data.rows import Sample
from copilot.errors import DataError
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.verifier.factory import ScorerConfig, make_scorer
from copilot.verifier.scores import Scored, read_scorable, read_scores, score_missing
from copilot.verifier.selection import SELECTORS, pick


@click.command("score")
@click.argument("stores", nargs=-1, required=True)
@click.option("--verifier", required=True, help="A verifier's folder: the weights a verifier stage left.")
@click.option(
    "--out", default="scores.jsonl", show_default=True, help="Scores file; what it holds is not scored again."
)
@click.option("--picks", default="", help="Also write the chosen attempt of each task to this file.")
@click.option("--by", type=click.Choice(sorted(SELECTORS)), default="learned", show_default=True, help="How to choose.")
@click.option("--engine", type=click.Choice(["transformers", "vllm"]), default="transformers", show_default=True)
@click.option("--url", default="", help="A running vLLM server.")
@click.option("--base", default="", help="Base model, where it is not where it was in training.")
@click.option("--context-length", default=4096, show_default=True, help="Context of a vLLM server in tokens.")
def COMMAND(**options: Any) -> None:
    """Score the trajectories of STORES (shards or folders) with a trained verifier.

    Every score is a probability strictly between 0 and 1 that the model gave; what cannot be scored ends the command
    with the counts. The same command goes on where it stopped.
    """
    samples, masked = read_scorable({store: store for store in options["stores"]})
    out = Path(options["out"])
    scored, cut = asyncio.run(_score(options, samples, out))
    click.echo(f"{out}: {scored} scored, {len(samples) - scored} there already, {masked} masked, {cut} cut to fit")
    if options["picks"]:
        lines = picks(samples, read_scores(out), by=options["by"])
        write_atomically(Path(options["picks"]), (json.dumps(line) + "\n" for line in lines))
        click.echo(f"{options['picks']}: {len(lines)} tasks, one attempt each, chosen by {options['by']}")


async def _score(options: dict[str, Any], samples: Sequence[Sample], out: Path) -> tuple[int, int]:
    """How many were scored, and of these cut to fit."""
    scorer = make_scorer(
        options["verifier"], _engine(options), log_folder=out.absolute().parent / "logs", base=options["base"]
    )
    await scorer.start()
    try:
        return await score_missing(scorer, samples, out), scorer.cut
    finally:
        await scorer.close()


def _engine(options: dict[str, Any]) -> ScorerConfig:
    if options["engine"] == "transformers":
        if options["url"]:
            raise DataError("--url goes with --engine vllm", remedy="leave it out")
        return TransformersConfig()
    raw = {"url": options["url"], "max_model_len": options["context_length"]}
    return parse(VllmConfig, raw, where="med-copilot score")


def picks(samples: Sequence[Sample], scores: dict[Any, Scored], *, by: str) -> list[dict[str, Any]]:
    """One line per task: the chosen attempt, its store, answer and score.

    Args:
        samples: Scored trajectories.
        scores: By reference.
        by: Name of a selector.
    """
    from copilot.verifier.candidates import candidate

    lines = []
    ordered = sorted(samples, key=lambda sample: (sample.trajectory.task_id, sample.ref))
    for task, group in groupby(ordered, key=lambda sample: sample.trajectory.task_id):
        attempts = list(group)
        chosen = attempts[pick([candidate(s.trajectory, scores[s.ref].score) for s in attempts], SELECTORS[by])]
        lines.append(
            {
                "task_id": task,
                "store": chosen.store,
                "attempt": chosen.trajectory.attempt,
                "of": len(attempts),
                "answer": chosen.trajectory.outcome.answer,
                "score": scores[chosen.ref].score,
            }
        )
    return lines
