"""Where requests to a host go."""

from __future__ import annotations

from urllib.parse import urlsplit

from lanhaven.types.models import Upstream

TEXT = frozenset({"/v1/chat/completions", "/v1/completions"})
VECTORS = frozenset({"/v1/embeddings"})


def upstream_at(
    base_url: str, headers: tuple[tuple[str, str], ...], model: str, *, embedding: bool, slots: int | None = None
) -> Upstream:
    """base_url: with a path, if there is one, but without /v1. model: its name there."""
    url = urlsplit(base_url)
    return Upstream(
        model=model,
        base_url=f"{url.scheme}://{url.netloc}",
        prefix=url.path,
        headers=headers,
        slots=slots,
        routes=VECTORS if embedding else TEXT,
    )
