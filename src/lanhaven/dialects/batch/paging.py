"""Lists as OpenAI tells them, and the query that asks for a page of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from lanhaven.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Page:
    """after: the id before the first one. up: the oldest first."""

    limit: int
    after: str | None
    up: bool
    purpose: str | None


def read_page(query: bytes, *, default: int, most: int) -> Page:
    """InvalidRequest names the field."""
    asked = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    text, order = asked.get("limit", str(default)), asked.get("order", "desc")
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit must be a whole number from 1 to {most}.", param="limit", retry=False)
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be asc or desc.", param="order", retry=False)
    return Page(int(text), asked.get("after"), order == "asc", asked.get("purpose"))


def listed(items: Sequence[dict[str, Any]], limit: int) -> dict[str, Any]:
    """OpenAI's list of what was found, of which one more than `limit` was looked for."""
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }
