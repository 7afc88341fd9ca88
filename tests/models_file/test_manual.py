"""docs/models-yaml.md names every field with its meaning and an example that works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lanhaven.models_file.fields import ENTRY, LOAD, SAMPLING, TOP, Fields
from lanhaven.models_file.read import ModelsFile, understood
from lanhaven.models_file.values import spelled

MANUAL = (Path(__file__).parents[2] / "docs/models-yaml.md").read_text(encoding="utf-8")
# Heading -> the fields of its table, how they are spelled there, and a file with one of them.
TABLES: dict[str, tuple[Fields, Callable[[str], str], str]] = {
    "The file": (TOP, str, "{}\n"),
    "A model": (ENTRY, spelled, "models:\n- {}\n"),
    "load": (LOAD, spelled, "models:\n- id: a\n  provider: mock\n  load:\n    {}\n"),
    "defaults": (SAMPLING, spelled, "models:\n- id: a\n  provider: mock\n  defaults:\n    {}\n"),
}


def rows(heading: str) -> list[tuple[str, str, str]]:
    """(field, meaning, example) of a table."""
    section = MANUAL.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| (.+) \| `(.+)` \|$", section, re.MULTILINE)


def read(text: str) -> ModelsFile:
    return understood(text, Path("models.yaml"))


@pytest.mark.req("S4-13", "S4-x5")
@pytest.mark.parametrize("heading", TABLES)
def test_the_tables_hold_the_fields_with_their_meanings(heading: str) -> None:
    fields, spelling, _ = TABLES[heading]
    wanted = [(spelling(field), reader.schema["description"]) for field, reader in fields.items()]
    assert [(field, meaning) for field, meaning, _ in rows(heading)] == wanted


@pytest.mark.parametrize(("heading", "field", "example"), [(h, f, e) for h in TABLES for f, _, e in rows(h)])
def test_each_example_works(heading: str, field: str, example: str) -> None:
    pattern = TABLES[heading][2]
    assert example.startswith(f"{field}: ")
    if heading == "A model":
        rest = [f"{needed}: mock" for needed in ("id", "provider") if needed != field]
        example = "\n  ".join((example, *rest))
    file = read(pattern.format(example))
    assert heading == "The file" or len(file.entries) == 1
    if field not in ("models", "tags", "id", "provider"):
        assert file != read(pattern.format("id: mock\n  provider: mock" if heading == "A model" else "")), (
            "says nothing"
        )
