"""Every family of the document. A new one is one file plus one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lanhaven.server.schema import anthropic, batch, jobs, lmstudio, lmstudio_v0, ollama, openai, pages, responses

FAMILIES: tuple[tuple[Callable[[], dict[str, Any]], Mapping[str, Any]], ...] = tuple(
    (family.paths, family.SCHEMAS)
    for family in (openai, batch, responses, anthropic, ollama, lmstudio, lmstudio_v0, jobs, pages)
)


def family_paths() -> dict[str, Any]:
    """Path -> operations of every family. ValueError if one stands in two of them."""
    found: dict[str, Any] = {}
    for paths, _ in FAMILIES:
        found = joined(found, paths())
    return found


def family_schemas() -> dict[str, Any]:
    """Name -> schema of every family. ValueError if one stands in two of them."""
    found: dict[str, Any] = {}
    for _, schemas in FAMILIES:
        found = joined(found, schemas)
    return found


def joined(some: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Both; they must have nothing in common."""
    twice = sorted(set(some) & set(others))
    if twice:
        raise ValueError(f"described twice: {', '.join(twice)}")
    return {**some, **others}
