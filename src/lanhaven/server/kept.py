"""What the server learns while it runs, kept over a restart in the store: written whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from lanhaven.errors import GatewayError
from lanhaven.store import Store


class Kept:
    """Between the store and a thing that counts its changes. Nothing here fails: without it, it begins anew."""

    def __init__(
        self,
        name: str,
        kind: str,
        store: Store,
        *,
        changes: Callable[[], int],
        dump: Callable[[], bytes],
        restore: Callable[[bytes], None],
    ) -> None:
        self._name, self._kind, self._store = name, kind, store
        self._changes, self._dump, self._restore = changes, dump, restore
        self._written = changes()

    async def restore(self) -> None:
        """Before it is first used. ValueError from its `restore` means: another version's, or damaged."""
        try:
            kept = await self._store.get(self._name, self._kind)
            if kept is not None:
                self._restore(kept)
        except (GatewayError, ValueError) as error:
            structlog.get_logger().warning(f"{self._name}_ignored", error=str(error))

    async def keep(self) -> None:
        """Write what is new."""
        changes = self._changes()
        if changes == self._written:
            return
        self._written = changes
        try:
            await self._store.put(self._name, self._kind, self._dump())
        except GatewayError as error:
            structlog.get_logger().warning(f"{self._name}_not_kept", error=error.message)
