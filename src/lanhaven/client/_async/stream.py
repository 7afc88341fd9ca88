"""A streamed chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from lanhaven.client._async.exchange import AsyncExchange
from lanhaven.client._async.items import AsyncItems
from lanhaven.client._chat_types import ChatCompletion, ChatCompletionChunk
from lanhaven.client._errors import StreamingFailed
from lanhaven.client._fold import chunks_of
from lanhaven.client._streaming import ChatStreamState
from lanhaven.errors import GatewayError, UpstreamError


class AsyncChatStream(AsyncItems[ChatCompletionChunk]):
    """The chunks of an answer, as they come. Nothing is sent before the first one is asked for.

    Use it in a `with` block, or iterate to the end: leaving early closes the connection at once, and the server stops
    computing. Errors: GatewayError, StreamingFailed for a stream that is cut off.
    """

    def __init__(self, exchange: AsyncExchange, state: ChatStreamState) -> None:
        super().__init__(_chunks(exchange, state))
        self._state = state

    @property
    def downgraded(self) -> bool:
        """Whether the answer came in one piece, because streaming failed or is switched off."""
        return self._state.downgraded

    async def completion(self) -> ChatCompletion:
        """Read what is left; the whole answer, put together."""
        async for _ in self:
            pass
        return self._state.fold.completion()


async def _chunks(exchange: AsyncExchange, state: ChatStreamState) -> AsyncGenerator[ChatCompletionChunk, None]:
    # A function beside the class: if it held the stream, a stream that is dropped would wait for the garbage collector.
    reason: GatewayError | None = None
    for attempt in range(state.attempts):
        if attempt:
            await asyncio.sleep(state.settings.stream_retry)
        begun = False
        try:
            async with aclosing(_streamed(exchange, state)) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield chunk
            return
        except (StreamingFailed, UpstreamError) as error:
            if begun or not state.fallback or error.retry is False:
                raise
            reason = error
    state.downgrade(reason)
    answer = ChatCompletion.read(await exchange.json(state.whole))
    for chunk in chunks_of(answer):
        state.fold.add(chunk)
        yield chunk


async def _streamed(exchange: AsyncExchange, state: ChatStreamState) -> AsyncGenerator[ChatCompletionChunk, None]:
    done = False
    async with exchange.stream(state.call) as frames:
        async for frame in frames:  # to the end of the body: closing before it looks like leaving
            if done:
                continue
            chunk = state.chunk(frame)
            if chunk is None:
                done = True
            else:
                yield chunk
    state.check_end(done=done)
