"""Both clients behind one way of calling: a test is written once and run with each.

client = Both(AsyncClient(...))      or Both(Client(...)), which works in a thread
await client.do("create_chat_completion", request)
await client.every(client.plain.events())
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import Any

from lanhaven import AsyncClient, Client

KINDS = (Client, AsyncClient)
END = object()


class Both:
    """A client of either kind."""

    def __init__(self, plain: Client | AsyncClient) -> None:
        self.plain: Any = plain
        self.is_async = isinstance(plain, AsyncClient)

    async def do(self, name: str, *words: Any, **fields: Any) -> Any:
        """What a method of the client gives."""
        return await self.run(methodcaller(name, *words, **fields), self.plain)

    async def run(self, function: Callable[..., Any], *words: Any, **fields: Any) -> Any:
        """The result of a method of anything that the client gave."""
        if self.is_async:
            return await function(*words, **fields)
        return await asyncio.to_thread(function, *words, **fields)

    async def step(self, iterator: Any) -> Any:
        """The next thing of an iterator, END behind the last."""
        if self.is_async:
            return await anext(iterator, END)
        return await asyncio.to_thread(next, iterator, END)

    async def every(self, iterable: Any) -> list[Any]:
        """All of them."""
        return [each async for each in self.each(iterable)]

    async def each(self, iterable: Any) -> AsyncIterator[Any]:
        iterator = iterable if isinstance(iterable, AsyncIterator | Iterator) else iter(iterable)
        while (found := await self.step(iterator)) is not END:
            yield found

    async def leave(self, stream: Any) -> None:
        """Close a stream, as leaving its block does."""
        await self.run(methodcaller("aclose" if self.is_async else "close"), stream)


@asynccontextmanager
async def client(kind: type[Client] | type[AsyncClient], url: str | None, **fields: Any) -> AsyncIterator[Both]:
    """A client that is closed at the end."""
    both = Both(kind(url, **fields))
    try:
        yield both
    finally:
        await both.do("aclose" if both.is_async else "close")
