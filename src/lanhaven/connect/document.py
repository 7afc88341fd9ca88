"""Recipes as JSON, filled in: what the page and `lanhaven connect --json` show."""

from __future__ import annotations

from typing import Any

from lanhaven.connect.fitness import needs, warnings
from lanhaven.connect.recipe import Place, Probe, Recipe, Step
from lanhaven.connect.table import RECIPES


def document(place: Place) -> dict[str, Any]:
    """All apps for one server and one model."""
    said: dict[str, Any] = {"baseUrl": place.url, "model": place.model, "contextLength": place.context}
    said |= {"maxContextLength": place.longest, "tools": place.tools, "vision": place.vision, "chats": place.chat}
    said |= {
        "ownCa": place.own_ca,
        "keyRequired": place.key_required,
        "apps": [app_json(each, place) for each in RECIPES],
    }
    return _told(said)


def app_json(recipe: Recipe, place: Place) -> dict[str, Any]:
    """One app."""
    return _told(
        {
            "id": recipe.id,
            "name": recipe.name,
            "about": recipe.about,
            "kind": recipe.kind.value,
            "dialect": recipe.dialect,
            "needs": needs(recipe),
            "warnings": warnings(recipe, place),
            "tested": recipe.tested or None,
            "steps": [_step_json(each) for each in recipe.steps(place)],
            "probes": [_probe_json(each) for each in recipe.probes(place)],
        }
    )


def _step_json(step: Step) -> dict[str, Any]:
    path = step.where.linux if step.where is not None else None
    said = {"title": step.title, "kind": step.kind.value, "language": step.language or None, "path": path}
    return _told({**said, "text": step.text})


def _probe_json(probe: Probe) -> dict[str, Any]:
    said = {"name": probe.name, "method": probe.method, "path": probe.path, "body": probe.body}
    return _told({**said, "expect": probe.expect or None})


def _told(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}
