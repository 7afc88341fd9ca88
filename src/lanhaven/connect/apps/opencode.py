"""opencode. Tried with 1.18.33."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lanhaven.connect import probes
from lanhaven.connect.recipe import Kind, Needs, Place, Probe, Recipe, Run, Step, Where
from lanhaven.connect.steps import json_file, shell

FILE = Where("~/.config/opencode/opencode.json")
LONGEST_ANSWER = 8192


def config(place: Place) -> dict[str, Any]:
    """Its settings. It asks for both limits or none."""
    model: dict[str, Any] = {"name": place.model}
    if place.context is not None:
        model["limit"] = {"context": place.context, "output": min(LONGEST_ANSWER, place.context // 4)}
    return {
        "$schema": "https://opencode.ai/config.json",
        "provider": {
            "lanhaven": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "LanHaven",
                "options": {"baseURL": place.v1, "apiKey": place.key},
                "models": {place.model: model},
            }
        },
        "model": f"lanhaven/{place.model}",
    }


def steps(place: Place) -> Sequence[Step]:
    """Its file, then the program."""
    title = f"Put this into {FILE.linux}, or into opencode.json of a project"
    return json_file(FILE, config(place), title), shell("Start it", "opencode")


def asks(place: Place) -> Sequence[Probe]:
    """A title, and the talk itself."""
    usage = {"include_usage": True}
    return (probes.openai_chat(place, tools=True, tool_choice="auto", stream_options=usage),)


OPENCODE = Recipe(
    id="opencode",
    name="opencode",
    about="An open coding agent for the terminal",
    kind=Kind.AGENT,
    dialect="openai",
    needs=Needs(tools=True, context=32_768, prompt=8_000),
    programs=("opencode",),
    tested="1.18.33",
    steps=steps,
    probes=asks,
    run=lambda place: Run("opencode", environment={"OPENCODE_CONFIG_CONTENT": json.dumps(config(place))}),
)
