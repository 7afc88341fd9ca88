"""What each key may use, and how much of it: the answers to what the gateway asks."""

from __future__ import annotations

from lanhaven.errors import Forbidden, Unauthorized
from lanhaven.keys.meters import Most
from lanhaven.keys.store import KeyStore
from lanhaven.types.models import ModelInfo

MOST_NAMED = 10  # models that an error names


class KeyAdmission:
    """See `lanhaven.admission.Admission`. Clients are named by their keys."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    def __repr__(self) -> str:
        return f"KeyAdmission({self._keys!r})"

    def allows(self, client: str | None, info: ModelInfo) -> bool:
        """Whether the key may use this model."""
        key = None if client is None else self._keys.named(client)
        return client is None or (key is not None and self._keys.table.allows(key, info))

    def recognise(self, client: str | None) -> None:
        """Unauthorized for a key that was revoked, or has expired."""
        if client is not None and self._keys.named(client) is None:
            raise _gone(client)

    def check(self, client: str | None, info: ModelInfo, asked: str | None) -> None:
        """Forbidden, with the key's name and what it may use; Unauthorized for one that was revoked.

        The model is called as the client called it: what it may not use, it need not learn the name of.
        """
        if client is None:
            return
        key = self._keys.named(client)
        if key is None:
            raise _gone(client)
        if key.terms.models and not self._keys.table.allows(key, info):
            named = ", ".join(key.terms.models[:MOST_NAMED]) + (" ..." if len(key.terms.models) > MOST_NAMED else "")
            raise Forbidden(
                f"The key {client} may not use {f'the model {asked}' if asked else 'the active model'}: "
                f"it is good for {named}.",
                param="model",
                hint=f"name one of those; lanhaven keys set {client} --models changes them",
                retry=False,
            )

    def admit(self, client: str | None, request_id: str, most: Most) -> None:
        """Count one request of the key. RateLimited."""
        if client is None:
            return
        key = self._keys.named(client)
        if key is None:
            raise _gone(client)
        self._keys.meters.admit(client, key.terms.limits, request_id, most)


def _gone(client: str) -> Unauthorized:
    return Unauthorized("Unauthorized", hint=f"the key {client} is not, or no longer, one of this server's")
