"""The model card of a released checkpoint, from ``copilot.json`` alone."""

from typing import Any

import yaml

from copilot.release.info import CheckpointInfo

_RATES = (("submitted", "submitted (the answer handed in)"), ("any_attempt", "any attempt (the paper's rule)"))


def model_card(info: CheckpointInfo) -> str:
    """Markdown with the hub's YAML header."""
    header: dict[str, Any] = {
        "base_model": info.base_model,
        "library_name": "peft" if info.kind == "lora" else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["med-copilot", "code", "biomedical", "agent"],
    }
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {info.name}",
        f"A coding agent for biomedical data science, trained with med-copilot from `{info.base_model}`"
        + (" (a LoRA adapter)." if info.kind == "lora" else "."),
        "## Use",
        f'```python\nimport copilot\n\nagent = copilot.load("{info.name}")  # this folder\'s path or hub id\n'
        'solution = agent.solve("How many patients are older than 80?", files={"patients.csv": "patients.csv"})\n'
        "print(solution.answer)\n```",
        f"It writes its actions in the `{info.protocol}` protocol, and its code runs in a sandbox.",
        "## Training",
        _bullets(
            {
                "Base weights": info.base_note,
                "Stages": " → ".join(info.training),
                "Recipe": f"{info.recipe} (`{info.recipe_hash[:12]}`)" if info.recipe else "",
                "Task sources": ", ".join(info.sources),
                "Versions": ", ".join(f"{name} {version}" for name, version in sorted(info.versions.items())),
            }
        ),
        "## Evaluation",
        _evaluation(info.evaluation),
        "## Limits",
        "Not a medical device. Trained on generated or public, de-identified data; answers must be checked by a person "
        "before anybody acts on them.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(items: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in items.items() if text)


def _evaluation(figures: dict[str, Any]) -> str:
    if not figures:
        return "No evaluation was run."
    rows = [
        f"| {title} | {rate['rate']:.1f} % | {rate['low']:.1f} - {rate['high']:.1f} % | {rate['total']} |"
        for name, title in _RATES
        if (rate := figures.get(name)) is not None
    ]
    return "\n".join(["| success | rate | 95 % interval | tasks |", "|---|---|---|---|", *rows])
