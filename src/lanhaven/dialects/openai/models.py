"""`GET /v1/models`: its objects, readable by OpenAI's and by Anthropic's clients (extra keys are ignored by both), and
its filters and pages (C13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from lanhaven.errors import InvalidRequest
from lanhaven.gateway import Gateway
from lanhaven.types.models import Instance, InstanceState, ModelInfo

STATUSES = ("ready", "loading", "unloaded", "downloading", "error")
LONGEST_PAGE = 1000
CREATED = 1_700_000_000  # model files carry no date that means anything to a client; a stable number is what lists need


def model_card(info: ModelInfo, gateway: Gateway, name: str | None = None) -> dict[str, Any]:
    """`name`: the id to show, where it is not the model key (an instance identifier, an alias)."""
    loaded = [each for each in gateway.pool.instances() if each.model_key == info.key]
    return {
        "id": name or info.key,
        "object": "model",
        "created": CREATED,
        "owned_by": info.provider,
        "type": "model",
        "display_name": info.key,
        "created_at": datetime.fromtimestamp(CREATED, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": _status(info, loaded),
        "state": "loaded" if any(each.state is InstanceState.READY for each in loaded) else "not-loaded",
        "kind": info.kind.value,
        "format": info.format or None,
        "quantization": info.quantization,
        "max_context_length": info.max_context,
        "loaded_context_length": next((each.load_config.context_length for each in loaded), None),
        "load_progress": next((each.progress for each in loaded if each.state is InstanceState.LOADING), None),
        "capabilities": sorted(info.capabilities),
    }


def _status(info: ModelInfo, loaded: list[Instance]) -> str:
    if info.unavailable is not None:
        return "error"
    states = {each.state for each in loaded}
    if InstanceState.READY in states:
        return "ready"
    return "loading" if InstanceState.LOADING in states else "unloaded"


def listed(cards: Sequence[Mapping[str, Any]], query: bytes) -> dict[str, Any]:
    """OpenAI's list. The query may hold `owned_by` and `status`: only those; `limit`: so many; `cursor`: those behind
    the model of this id. `next_cursor` is where the next page begins, None on the last one.

    InvalidRequest for a status, limit or cursor that cannot be; other fields of the query are ignored.
    """
    asked = {name: values[-1] for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items()}
    status = asked.get("status")
    if status is not None and status not in STATUSES:
        raise InvalidRequest(f"status must be one of {', '.join(STATUSES)}.", param="status", retry=False)
    found = [
        each for each in cards if asked.get("owned_by") in (None, each["owned_by"]) and status in (None, each["status"])
    ]
    rest = found[_place(found, asked.get("cursor")) :]
    page = rest[: _limit(asked.get("limit"))]
    more = page[-1]["id"] if page and len(page) < len(rest) else None
    return {"object": "list", "data": page, "has_more": more is not None, "next_cursor": more}


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
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
