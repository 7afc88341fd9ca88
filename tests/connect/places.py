"""Places that recipes are filled with in tests."""

from __future__ import annotations

import dataclasses
from typing import Any

from lanhaven.connect.recipe import NO_KEY, Place

# What docs/clients.md shows.
SAMPLE = Place(url="http://127.0.0.1:8002", model="smollm2", key=NO_KEY, context=32_768, longest=32_768, tools=True)


def sample(**fields: Any) -> Place:
    """The sample, otherwise."""
    return dataclasses.replace(SAMPLE, **fields)
