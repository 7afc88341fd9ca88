# Made of _async/items.py by scripts/unasync: change that file.
"""What comes over a connection piece by piece."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Items(Generic[Item]):
    """Iterate to the end, or use it in a `with` block: leaving early closes the connection at once."""

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._items = items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whether there is more to come or not. Idempotent."""
        self._items.close()
