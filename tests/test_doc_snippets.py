"""What the docs show works: the example source is a source, and every command named exists."""

import re
from pathlib import Path
from typing import Any

import pytest

from copilot.cli import cli
from copilot.envs.sources.base import Source
from copilot.reward import grade

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_example_source_proves_itself() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "add-a-source.md").read_text("utf-8"), re.DOTALL)
    scope: dict[str, Any] = {"__name__": "ages"}
    exec(code, scope)
    source = scope["SOURCE"]
    assert isinstance(source, Source)
    train, test = list(source.tasks("train")), list(source.tasks("test_seen"))
    assert not {t.id for t in train} & {t.id for t in test}
    for task in [*train, *test]:
        answer: dict[str, Any] = {}
        exec(task.reference.program, answer)
        assert grade(task.reference.answer, answer["answer"]).correct
        assert not grade(task.reference.answer, None).correct


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_the_docs_exist(page: Path) -> None:
    named = set(re.findall(r"med-copilot ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
    assert named <= set(cli.commands) | set(cli.list_commands(cli.make_context("med-copilot", ["run"])))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_recipes_named_in_the_docs_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    recipes = re.findall(r"recipes/[a-z0-9_.]+\.yaml", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing + [recipe for recipe in recipes if not (ROOT / recipe).exists()] == []
