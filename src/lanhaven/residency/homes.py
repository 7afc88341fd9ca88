"""Where conversations are at home: the instance that has their prompt cache."""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED = 4096  # conversations; some 200 bytes each


class Homes:
    """(model key, the conversation's key) -> instance. Bounded: who was not seen for longest is forgotten."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._homes: OrderedDict[tuple[str, str], str] = OrderedDict()

    def of(self, model_key: str, affinity: str | None) -> str | None:
        """The instance where this conversation is at home; it may be gone meanwhile."""
        if affinity is None:
            return None
        home = self._homes.get((model_key, affinity))
        if home is not None:
            self._homes.move_to_end((model_key, affinity))
        return home

    def settle(self, model_key: str, affinity: str, instance_id: str) -> None:
        """From now on its home is this instance."""
        self._homes[model_key, affinity] = instance_id
        if len(self._homes) > self._remembered:
            self._homes.popitem(last=False)

    def __len__(self) -> int:
        return len(self._homes)
