"""What a dialect asks before it sends a chat: is there an offer of tools, and what is the answer not held to?"""

from __future__ import annotations

from typing import Any

from lanhaven.dialects.base import Headers
from lanhaven.dialects.tools.offering import Offer, concerns_tools, make_offer
from lanhaven.dialects.tools.schemas import schema_of, unenforced
from lanhaven.errors import GatewayError
from lanhaven.gateway import Gateway

UNENFORCED = b"x-lanhaven-unenforced"  # a reply's header: words of a schema that the engine passes over
MOST_NAMED = 16


def settle(gateway: Gateway, chat: dict[str, Any], model: str | None = None) -> tuple[Offer | None, Headers]:
    """The offer of a chat (see `make_offer`), and headers for its reply. `model`: where the body does not name it.

    Of a model that there is not, nothing is said: the inference fails of it, and is seen to fail.
    """
    schema = schema_of(chat.get("response_format"))
    if schema is None and not concerns_tools(chat):
        return None, []
    try:
        name = chat.get("model") if model is None else model
        info = gateway.catalog.resolve(name if isinstance(name, str) else None, gateway.pool.ids()).info
    except GatewayError:
        return None, []
    offer = make_offer(chat, info)
    if not info.holds_schemas:
        return offer, []
    told = [each.get("parameters") for each in offer.tools] if offer is not None else []
    return offer, _headers([word for each in (schema, *told) for word in unenforced(each)])


def _headers(words: list[str]) -> Headers:
    named = list(dict.fromkeys(words))[:MOST_NAMED]
    return [(UNENFORCED, ", ".join(named).encode())] if named else []
