# Made of _async/stream.py by scripts/unasync: change that file.
"""A streamed chat."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from lanhaven.client._chat_types import ChatCompletion, ChatCompletionChunk
from lanhaven.client._errors import StreamingFailed
from lanhaven.client._fold import chunks_of
from lanhaven.client._streaming import ChatStreamState
from lanhaven.client._sync.exchange import Exchange
from lanhaven.client._sync.items import Items
from lanhaven.errors import GatewayError, UpstreamError


class ChatStream(Items[ChatCompletionChunk]):
    """The chunks of an answer, as they come. Nothing is sent before the first one is asked for.

    Use it in a `with` block, or iterate to the end: leaving early closes the connection at once, and the server stops
    computing. Errors: GatewayError, StreamingFailed for a stream that is cut off.
    """

    def __init__(self, exchange: Exchange, state: ChatStreamState) -> None:
        super().__init__(_chunks(exchange, state))
        self._state = state

    @property
    def downgraded(self) -> bool:
        """Whether the answer came in one piece, because streaming failed or is switched off."""
        return self._state.downgraded

    def completion(self) -> ChatCompletion:
        """Read what is left; the whole answer, put together."""
        for _ in self:
            pass
        return self._state.fold.completion()


def _chunks(exchange: Exchange, state: ChatStreamState) -> Generator[ChatCompletionChunk, None, None]:
    # A function beside the class: if it held the stream, a stream that is dropped would wait for the garbage collector.
    reason: GatewayError | None = None
    for attempt in range(state.attempts):
        if attempt:
            time.sleep(state.settings.stream_retry)
        begun = False
        try:
            with closing(_streamed(exchange, state)) as chunks:
                for chunk in chunks:
                    begun = True
                    yield chunk
            return
        except (StreamingFailed, UpstreamError) as error:
            if begun or not state.fallback or error.retry is False:
                raise
            reason = error
    state.downgrade(reason)
    answer = ChatCompletion.read(exchange.json(state.whole))
    for chunk in chunks_of(answer):
        state.fold.add(chunk)
        yield chunk


def _streamed(exchange: Exchange, state: ChatStreamState) -> Generator[ChatCompletionChunk, None, None]:
    done = False
    with exchange.stream(state.call) as frames:
        for frame in frames:  # to the end of the body: closing before it looks like leaving
            if done:
                continue
            chunk = state.chunk(frame)
            if chunk is None:
                done = True
            else:
                yield chunk
    state.check_end(done=done)
