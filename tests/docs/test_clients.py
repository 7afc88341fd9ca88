"""docs/clients.md names every program that is tested, and says of none more than is tested."""

from __future__ import annotations

import json
import re

import pytest

from lanhaven.connect.recipe import Recipe, Step
from lanhaven.connect.table import RECIPES
from tests.clients.recorded import FOLDER, programs
from tests.connect.places import SAMPLE
from tests.docs.blocks import ROOT, blocks_in

PAGE = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.+?) \| .+? \| .+? \| (.+?) \|$", re.MULTILINE)


def listed() -> dict[str, str]:
    """Program -> how it is tested, as the page says."""
    return dict(ROW.findall(PAGE.split("## What was tested")[1]))


def first_word(name: str) -> str:
    return name.replace(",", " ").split()[0].lower()


@pytest.mark.req("S4-29")
def test_what_is_replayed_is_recorded_and_what_is_recorded_is_listed() -> None:
    said = {first_word(program) for program, how in listed().items() if "replayed" in how}
    told = [json.loads((FOLDER / f"{each}.json").read_text(encoding="utf-8"))["client"] for each in programs()]
    assert said == {first_word(each) for each in told}


@pytest.mark.req("S4-29")
def test_what_was_tried_out_is_what_was_recorded() -> None:
    said = {program for program, how in listed().items() if how.startswith("tried out")}
    recorded = [json.loads((FOLDER / f"{each}.json").read_text(encoding="utf-8")) for each in programs()]
    assert said == {each["client"] for each in recorded if each["source"].startswith("recorded")}


@pytest.mark.parametrize("name", ["langchain-openai", "langchain-ollama", "langchain-anthropic", "llm", "llm-ollama"])
def test_what_runs_in_every_test_is_locked(name: str) -> None:
    assert re.search(rf"^{name}==", (ROOT / "tests/clients/frameworks.lock").read_text(encoding="utf-8"), re.MULTILINE)


# ---- what the page shows is what the table of recipes gives

SHOWN = {each.text for each in blocks_in(PAGE, "docs/clients.md")}
STEPS = [(recipe, step) for recipe in RECIPES for step in recipe.steps(SAMPLE)]


@pytest.mark.req("S4-29")
@pytest.mark.parametrize(
    ("recipe", "step"), STEPS, ids=lambda each: each.id if isinstance(each, Recipe) else each.title
)
def test_every_step_of_a_recipe_is_shown(recipe: Recipe, step: Step) -> None:
    assert step.text in SHOWN or f"`{step.text.rstrip()}`" in PAGE
    assert f"`lanhaven connect {recipe.id}`" in PAGE


def test_nothing_is_shown_that_no_recipe_gives() -> None:
    sections = PAGE[PAGE.index("## Claude Code") : PAGE.index("## Any other program")]
    given = {step.text for _, step in STEPS}
    assert [each.text for each in blocks_in(sections, "docs/clients.md") if each.text not in given] == []
