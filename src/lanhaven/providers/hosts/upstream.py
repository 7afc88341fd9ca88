"""Where requests to a host go."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from lanhaven.types.chat import Route
from lanhaven.types.models import ModelKind, Upstream

_TEXT = frozenset({Route.CHAT, Route.COMPLETION})
ROUTES: Mapping[ModelKind, frozenset[str]] = MappingProxyType(
    {
        ModelKind.LLM: _TEXT,
        ModelKind.VLM: _TEXT,
        ModelKind.EMBEDDING: frozenset({Route.EMBEDDING}),
        ModelKind.RERANKER: frozenset({Route.RERANK}),
    }
)


def routes_for(*, embedding: bool) -> frozenset[str]:
    return ROUTES[ModelKind.EMBEDDING if embedding else ModelKind.LLM]


def upstream_at(
    base_url: str,
    headers: tuple[tuple[str, str], ...],
    model: str,
    routes: frozenset[str] = ROUTES[ModelKind.LLM],
    slots: int | None = None,
) -> Upstream:
    """base_url: with a path, if there is one, but without /v1. model: its name there."""
    url = urlsplit(base_url)
    return Upstream(
        model=model,
        base_url=f"{url.scheme}://{url.netloc}",
        prefix=url.path,
        headers=headers,
        slots=slots,
        routes=routes,
    )
