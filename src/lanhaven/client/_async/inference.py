"""Chats as jobs: start one, read its events from wherever you left off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from lanhaven.client import _calls
from lanhaven.client._async.exchange import AsyncExchange
from lanhaven.client._chat_types import ChatCompletionRequest
from lanhaven.client._errors import ConnectionFailed, StreamingFailed
from lanhaven.client._model_types import InferenceEvent
from lanhaven.client._protocol import Call, Repeat, backoff
from lanhaven.errors import UpstreamError

LAST = frozenset({"completed", "failed"})


class AsyncInferenceJob:
    """A job on the server. id: to find it again with `ChatInference.job(id)`, from another process too."""

    def __init__(
        self, exchange: AsyncExchange, job_id: str, model: str | None = None, created: int | None = None
    ) -> None:
        self.id = job_id
        self.model = model
        self.created = created  # seconds since the epoch
        self._exchange = exchange

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id} {self.model or ''})"

    def events(self, after: str | None = None) -> AsyncIterator[InferenceEvent]:
        """Its events, all or those after the one with this id; ends after completed or failed.

        A connection that breaks off is made again where it was. The server keeps the events for some minutes after the
        job is over; NotFound from then on.
        """
        return _events(self._exchange, self.id, after)

    async def cancel(self) -> None:
        """End it; forget it, if it is over."""
        path = f"{_calls.JOB}/jobs/{self.id}"
        await self._exchange.json(Call("DELETE", path, timeout=self._exchange.settings.timeout, repeat=Repeat.ONCE))


class AsyncChatInference:
    """Starts jobs, by `client.inference`."""

    def __init__(self, exchange: AsyncExchange) -> None:
        self._exchange = exchange

    async def start(self, request: ChatCompletionRequest | Mapping[str, Any]) -> AsyncInferenceJob:
        """Start a chat. It runs on, whether its events are read or not; a minute without a reader ends it."""
        reply = await self._exchange.json(_calls.infer(request, self._exchange.settings))
        try:
            return AsyncInferenceJob(self._exchange, str(reply["job_id"]), reply.get("model"), reply.get("created"))
        except (TypeError, KeyError, AttributeError):
            raise UpstreamError("The server's reply names no job.") from None

    def job(self, job_id: str) -> AsyncInferenceJob:
        """A job that was started before."""
        return AsyncInferenceJob(self._exchange, job_id)


async def _events(exchange: AsyncExchange, job_id: str, seen: str | None) -> AsyncGenerator[InferenceEvent, None]:
    failures = 0
    while True:
        try:
            async with exchange.stream(_calls.job_events(job_id, seen, exchange.settings)) as frames:
                async for frame in frames:
                    if frame.data is None:
                        return  # it is over, and everything was seen
                    failures, seen = 0, frame.id or seen
                    event = _event(frame.event, frame.object(), frame.id)
                    yield event
                    if event.type in LAST:
                        return
            raise StreamingFailed("The job's events ended before the job did.")
        except (ConnectionFailed, StreamingFailed):
            if failures >= exchange.settings.max_retries:
                raise
        await asyncio.sleep(backoff(failures, random.random()))
        failures += 1


def _event(name: str | None, value: Mapping[str, Any], event_id: str | None) -> InferenceEvent:
    kind, payload = value.get("type", name), value.get("payload")
    return InferenceEvent(
        type=str(kind or "message"), payload=payload if isinstance(payload, Mapping) else value, id=event_id
    )
