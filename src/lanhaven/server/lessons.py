"""What loads taught, kept over a restart: in the store, so that it is written whole or not at all."""

from __future__ import annotations

import structlog

from lanhaven.errors import GatewayError
from lanhaven.residency.ledger import Ledger
from lanhaven.store import Store

NAME, KIND = "lessons", "residency.ledger"


class Lessons:
    """Between a ledger and the store. Nothing here fails: without it the next loads teach the same again."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger, self._store = ledger, store
        self._kept = ledger.changes

    async def restore(self) -> None:
        """Before the first load."""
        try:
            kept = await self._store.get(NAME, KIND)
            if kept is not None:
                self._ledger.restore(kept)
        except (GatewayError, ValueError) as error:  # another version's, or damaged
            structlog.get_logger().warning("lessons_ignored", error=str(error))

    async def keep(self) -> None:
        """Write what is new."""
        if self._ledger.changes == self._kept:
            return
        self._kept = self._ledger.changes
        try:
            await self._store.put(NAME, KIND, self._ledger.lessons())
        except GatewayError as error:
            structlog.get_logger().warning("lessons_not_kept", error=error.message)
