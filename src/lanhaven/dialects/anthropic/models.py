"""Models as Anthropic's clients list them: `GET /v1/models` with the header `anthropic-version`.

Claude Code keeps only models whose names begin with "claude" or "anthropic", so a model of another name is listed a
second time, with a prefix that means itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from lanhaven.errors import InvalidRequest, ModelNotFound
from lanhaven.gateway import Gateway
from lanhaven.types.models import ModelInfo, ModelKind

VERSION = b"anthropic-version"
PREFIX = "claude-local-"
KEPT = ("claude", "anthropic")  # beginnings of the names that Claude Code keeps
CREATED = "2023-11-14T22:13:20Z"  # model files carry no date that means anything to a client
LONGEST_PAGE = 1000


def is_asked(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the caller speaks Anthropic's API."""
    return any(name == VERSION for name, _ in headers)


def meant(gateway: Gateway, name: str) -> str:
    """`claude-local-NAME` is NAME, unless a model is really called so."""
    if not name.startswith(PREFIX):
        return name
    try:
        gateway.model(name)
    except ModelNotFound:
        return name.removeprefix(PREFIX)
    return name


def card(gateway: Gateway, info: ModelInfo, name: str) -> dict[str, Any]:
    """One model, under this name. `max_input_tokens`: of the loaded instance, else what the model can at most."""
    loaded = (each.load_config.context_length for each in gateway.pool.instances() if each.model_key == info.key)
    context = next(filter(None, loaded), info.max_context)
    return {
        "type": "model",
        "id": name,
        "display_name": name.removeprefix(PREFIX),
        "created_at": CREATED,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "capabilities": None,
        "max_input_tokens": context,
        "max_tokens": context,
    }


def cards(gateway: Gateway, client: str | None) -> list[dict[str, Any]]:
    """Everything that can chat, of what the client may use: under its key, its aliases of Claude's kind, its instances'
    identifiers."""
    return [
        card(gateway, info, name)
        for info in gateway.models(client)
        if info.kind in (ModelKind.LLM, ModelKind.VLM)
        for name in _names(gateway, info)
    ]


def _names(gateway: Gateway, info: ModelInfo) -> Iterator[str]:
    own = [info.key, *(each for each, key in gateway.pool.ids().items() if key == info.key and each != info.key)]
    yield from own
    yield from (each for each in info.aliases if each.startswith(KEPT))
    yield from (PREFIX + each for each in own if not each.startswith(KEPT))


def page(found: Sequence[Mapping[str, Any]], query: bytes) -> dict[str, Any]:
    """Anthropic's list. The query may hold `limit` (all where it says nothing), `after_id` and `before_id`."""
    asked = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    ids = [each["id"] for each in found]
    first = _place(ids, asked["after_id"], "after_id") + 1 if "after_id" in asked else 0
    last = _place(ids, asked["before_id"], "before_id") if "before_id" in asked else len(ids)
    here, limit = found[first:last], _limit(asked.get("limit"))
    backwards = "before_id" in asked
    data = (here[-limit:] if backwards else here[:limit]) if limit is not None else here
    return {
        "data": data,
        "has_more": len(data) < len(here),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _place(ids: Sequence[str], name: str, field: str) -> int:
    if name not in ids:
        raise InvalidRequest(f"{field} is not the id of a model in this list.", param=field, retry=False)
    return ids.index(name)


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LONGEST_PAGE):
        raise InvalidRequest(f"limit must be a whole number from 1 to {LONGEST_PAGE}.", param="limit", retry=False)
    return int(text)
