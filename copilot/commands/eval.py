"""``med-copilot eval``: one model on one set of tasks, as a two-stage recipe, so that it is cached and resumes."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from copilot.errors import RecipeError
from copilot.recipe.entry import INTERRUPTED
from copilot.recipe.loader import validate
from copilot.recipe.supervisor import supervise

PROTOCOLS = ("markdown", "json", "tools")


@click.command("eval")
@click.option("--model", required=True, help="Hub id, folder or known name; with --url the API's model name.")
@click.option("--adapter", default="", help="Folder of a LoRA adapter.")
@click.option("--source", help="Task source.")
@click.option("--split", default="", help="Split of the source or suite.")
@click.option("--suite", default="", help="Suite: a shipped name or a .jsonl file.")
@click.option("--limit", type=int, help="Tasks, at most.")
@click.option("--attempts", default=1, show_default=True, help="Episodes per task.")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(PROTOCOLS),
    help="Repeat to try several; default: all, compared on a part of the tasks; the best plays all.",
)
@click.option("--engine", type=click.Choice(["vllm", "transformers", "openai"]), default="vllm", show_default=True)
@click.option("--url", default="", help="A running server (vllm) or an API's base URL (openai).")
@click.option("--brief", is_flag=True, help="Short prompt without schema and example, for models trained on it.")
@click.option("--max-turns", default=15, show_default=True, help="Model messages per episode.")
@click.option(
    "--max-repeats",
    default=4,
    show_default=True,
    help="Turns in a row with the same action (or none) and feedback that end an episode as a loop; 0: never.",
)
@click.option("--max-tokens", default=256, show_default=True, help="Tokens per message.")
@click.option("--context-length", default=8192, show_default=True, help="Context in tokens.")
@click.option("--temperature", default=0.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--output", default="runs", show_default=True, help="Where the run folder is made.")
def COMMAND(**options: Any) -> None:
    """Evaluate a model: both success rates with intervals, and an HTML report.

    Tasks come from --source NAME --split SPLIT or from --suite FILE. The same command goes on where it stopped.
    """
    try:
        supervise(
            validate(recipe_for(options), where="med-copilot eval"), source=Path("eval").absolute(), env=os.environ
        )
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)


def recipe_for(options: dict[str, Any]) -> dict[str, Any]:
    """The recipe of an evaluation, as a YAML file would hold it.

    Raises:
        RecipeError: Neither or both of a source and a suite.
    """
    if bool(options["source"]) == bool(options["suite"]):
        raise RecipeError("tasks are not named", remedy="give --source NAME --split SPLIT, or --suite FILE")
    if options["source"]:
        tasks: dict[str, Any] = {"sources": [_source(options)]}
    else:
        tasks = {"suite": options["suite"], "splits": [options["split"]] if options["split"] else []}
    prompt = {"brief": True, "context": False} if options["brief"] else {"context": True, "examples": 1}
    what = Path(options["suite"]).stem if options["suite"] else f"{options['source']}-{options['split'] or 'test'}"
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"eval-{Path(options['model']).name}-{what}").strip("-")
    subject = {
        "label": "model",
        "adapter": _folder(options["adapter"]),
        "protocols": list(options["protocols"] or PROTOCOLS),
    }
    evaluate = {
        "id": "evaluation",
        "type": "evaluate",
        **tasks,
        "limit": options["limit"],
        "attempts": options["attempts"],
        "policy": _policy(options),
        "subjects": [subject],
        # The three protocols are compared on a part of the tasks, so that a base model costs little more than one run.
        "protocol_trials": max(5, (options["limit"] or 40) // 4),
        "rollout": {
            "prompt": prompt,
            "max_turns": options["max_turns"],
            "max_repeats": options["max_repeats"] or None,
            "concurrency": 32,
            "sampling": {"temperature": options["temperature"], "max_tokens": options["max_tokens"]},
        },
    }
    report = {"id": "report", "type": "report", "evaluation": "evaluation"}
    # An API's model has no folder here; the recipe's own model is then never loaded.
    model = "tiny" if options["engine"] == "openai" else options["model"]
    return {
        "name": name,
        "model": {"path": model},
        "seed": options["seed"],
        "output": options["output"],
        "stages": [evaluate, report],
    }


def _source(options: dict[str, Any]) -> dict[str, Any]:
    return {"source": options["source"], "split": options["split"] or "test", "limit": options["limit"]}


def _folder(adapter: str) -> str:
    return str(Path(adapter).absolute()) if adapter else ""


def _policy(options: dict[str, Any]) -> dict[str, Any]:
    url = {"url": options["url"]} if options["url"] else {}
    if options["engine"] == "openai":
        return {"type": "openai", "model": options["model"], **url}
    if options["engine"] == "transformers" and url:
        raise RecipeError("--url goes with --engine vllm or openai", remedy="leave it out")
    return {"type": options["engine"], "max_model_len": options["context_length"], **url}
