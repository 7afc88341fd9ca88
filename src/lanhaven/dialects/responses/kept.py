"""Responses that are kept: each with its own input, so that a conversation is the chain of them.

Nobody but the key that made a response can read it, go on from it or delete it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from lanhaven.dialects.responses.fields import unserved, wrong
from lanhaven.errors import InvalidRequest, NotFound, PayloadTooLarge, StorageFull
from lanhaven.store import Store
from lanhaven.wire import encode, read_object

KIND = "responses"
MAX_CHAIN = 1000
MAX_BYTES = 64 << 20  # of a conversation: a small request must not fetch all that is kept
MAX_PAGE = 100
PAGE = 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A response, and the items that were its own input."""

    response: dict[str, Any]
    items: list[dict[str, Any]]


class Shelf:
    """The kept responses of one key (`owner`; None where no key is needed). most: bytes of a conversation."""

    def __init__(self, store: Store, owner: str | None, *, most: int = MAX_BYTES) -> None:
        self._store = store
        self._owner = owner
        self._most = most

    async def put(self, kept: Kept) -> bool:
        """Keep it; False if it cannot be: it is too large, or the disk is full."""
        body = encode({"response": kept.response, "items": kept.items})
        try:
            await self._store.put(kept.response["id"], KIND, body, owner=self._owner)
        except (PayloadTooLarge, StorageFull):
            return False
        return True

    async def get(self, name: str) -> Kept:
        """NotFound if there is none, or no more, or it is somebody else's."""
        body = await self._body(name)
        if body is None:
            raise missing(name)
        return _read(body)

    async def delete(self, name: str) -> None:
        """NotFound if there is none."""
        if not await self._store.delete(name, KIND, owner=self._owner):
            raise missing(name)

    async def before(self, name: str | None) -> list[dict[str, Any]]:
        """All items of the conversation that ends with the response of this id: what was said to it and by it.

        InvalidRequest if it is not there as a whole, PayloadTooLarge.
        """
        chain: list[list[dict[str, Any]]] = []
        size = 0
        while name is not None:
            body = await self._body(name)
            if body is None or len(chain) == MAX_CHAIN:
                raise _no_previous(name, len(chain))
            size += len(body)
            if size > self._most:
                raise _too_long(self._most)
            kept = _read(body)
            chain.append([*kept.items, *kept.response["output"]])
            name = kept.response["previous_response_id"]
        return [item for items in reversed(chain) for item in items]

    async def _body(self, name: str) -> bytes | None:
        return await self._store.get(name, KIND, owner=self._owner)


def _read(body: bytes) -> Kept:
    value = read_object(body)
    return Kept(value["response"], value["items"])


def missing(name: str) -> NotFound:
    """In OpenAI's words."""
    return NotFound(f"Response with id '{name}' not found.", param="id", retry=False)


def _no_previous(name: str, depth: int) -> InvalidRequest:
    """OpenAI's own code: clients that read it send the conversation again as a whole."""
    why = "not found" if depth < MAX_CHAIN else f"is more than {MAX_CHAIN} responses back"
    return InvalidRequest(
        f"Previous response with id '{name}' {why}.",
        param="previous_response_id",
        hint="send the whole conversation as input",
        retry=False,
        facts={"code": "previous_response_not_found"},
    )


def _too_long(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The conversation is longer than {most} bytes.",
        param="previous_response_id",
        hint="begin a new one, with what matters of it as input",
        retry=False,
    )


def page_of(items: Sequence[dict[str, Any]], query: bytes) -> dict[str, Any]:
    """OpenAI's list: the newest item first unless `order=asc`; `limit` (20, at most 100); those behind `after`."""
    asked = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    if asked.get("order", "desc") not in ("asc", "desc"):
        raise wrong("order", "must be asc or desc")
    ordered = list(items) if asked.get("order") == "asc" else list(reversed(items))
    rest = ordered[_place(ordered, asked.get("after")) :]
    page = rest[: _limit(asked.get("limit"))]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(page) < len(rest),
    }


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE):
        raise wrong("limit", f"must be a whole number from 1 to {MAX_PAGE}")
    return int(text)


def _place(items: Sequence[dict[str, Any]], after: str | None) -> int:
    if after is None:
        return 0
    for index, each in enumerate(items):
        if each["id"] == after:
            return index + 1
    raise wrong("after", "is not the id of an item in this list")


def check_not_streamed(query: bytes) -> None:
    """A kept response is told whole: only those in the background have a stream to come back to."""
    if parse_qs(query.decode("latin-1")).get("stream", [""])[-1] == "true":
        raise unserved("stream", "a kept response is told as a whole")
