# Made of _async/keys.py by scripts/unasync: change that file.
"""Who may use the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lanhaven.client._admin_calls import KEYS, delete, key_path, patch, post
from lanhaven.client._admin_types import ApiKey, KeyLimits, NewApiKey
from lanhaven.client._protocol import get
from lanhaven.client._sync.exchange import Exchange
from lanhaven.errors import UpstreamError


class Keys:
    """By `client.keys`; it needs a key with the scope admin, where there are keys. UnsupportedFeature where the server
    is not LanHaven."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def list(self) -> tuple[ApiKey, ...]:
        """All keys: what they may do, and what they did. None of them is told again."""
        reply = self._exchange.json(get(KEYS, self._exchange.settings, feature="keys"))
        found = reply.get("keys") if isinstance(reply, dict) else None
        if not isinstance(found, list):
            raise UpstreamError("The server's list of keys has no `keys`.")
        return tuple(ApiKey.read(each) for each in found)

    def add(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
        expires: str | None = None,
        expires_in_days: float | None = None,
        limits: KeyLimits | Mapping[str, Any] | None = None,
        lmstudio: bool = False,
    ) -> NewApiKey:
        """Make a key. scopes: inference (if none is said), admin, debug. models: names, or patterns of them. expires:
        2026-12-31, or 2026-12-31T12:00:00Z. lmstudio: one that LM Studio's clients take. InvalidRequest."""
        said = {
            "name": name,
            "scopes": scopes,
            "models": models,
            "networks": networks,
            "expires": expires,
            "expiresInDays": expires_in_days,
            "limits": limits,
            "lmstudio": lmstudio or None,
        }
        body = {field: value for field, value in said.items() if value is not None}
        return NewApiKey.read(self._exchange.json(post(KEYS, body, self._exchange.settings, "keys")))

    def change(self, name: str, changes: Mapping[str, Any]) -> ApiKey:
        """Change what a key may do, from the next request on. The names are those of `add`; what is not named stays,
        None takes a bound away, also within `limits`. NotFound."""
        return ApiKey.read(self._exchange.json(patch(key_path(name), changes, self._exchange.settings)))

    def rotate(self, name: str, *, grace_seconds: float = 0.0) -> NewApiKey:
        """A new key in place of the old one, which stays good for `grace_seconds`. NotFound."""
        call = post(f"{key_path(name)}/rotate", {"graceSeconds": grace_seconds}, self._exchange.settings, "keys")
        return NewApiKey.read(self._exchange.json(call))

    def revoke(self, name: str, *, force: bool = False) -> None:
        """Make a key worthless. force: also the one that this client has, if it is not the last for admin. NotFound."""
        self._exchange.whole(delete(key_path(name), self._exchange.settings, force=force))
