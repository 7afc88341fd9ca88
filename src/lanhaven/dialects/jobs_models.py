"""The list of models, filtered and in pages (S3-x2). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lanhaven.errors import InvalidRequest

LONGEST_PAGE = 1000


def listed(cards: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """`owned_by`, `status`: only those; `limit`: so many; `cursor`: behind the model of this id. As OpenAI's list.

    `next_cursor` is where the next page begins, None on the last one.
    """
    found = [
        each
        for each in cards
        if query.get("owned_by") in (None, each["owned_by"]) and query.get("status") in (None, each["status"])
    ]
    rest = found[_place(found, query.get("cursor")) :]
    page = rest[: _limit(query.get("limit"))]
    more = page[-1]["id"] if page and len(page) < len(rest) else None
    return {"object": "list", "data": page, "has_more": more is not None, "next_cursor": more}


def _limit(text: str | None) -> int:
    if text is None:
        return LONGEST_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LONGEST_PAGE):
        raise InvalidRequest(f"limit must be a whole number from 1 to {LONGEST_PAGE}.", param="limit", retry=False)
    return int(text)


def _place(cards: Sequence[Mapping[str, Any]], cursor: str | None) -> int:
    if cursor is None:
        return 0
    for index, each in enumerate(cards):
        if each["id"] == cursor:
            return index + 1
    raise InvalidRequest("cursor is not the id of a model in this list.", param="cursor", retry=False)
