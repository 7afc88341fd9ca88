"""The work of a job: one answer, streamed from the upstream; whatever ends it, its last event says so.

A stream that breaks before its first piece is asked for once more, and then for a whole answer (S3-x6): some servers
cannot stream what they can answer. Once readers have seen a piece nothing is asked for again. The calls of a model that
was told of tools in words are read from a stream only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from lanhaven.dialects.jobs.answer import Answer
from lanhaven.dialects.jobs.record import Job
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.reading import read
from lanhaven.errors import GatewayError, UpstreamError
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.types.chat import InferenceRequest, Outcome
from lanhaven.upstream.exchange import Exchange

Words = Callable[[GatewayError], bytes]  # an error as the JSON object {"error": {...}}
STREAMS = 2  # attempts


async def work(job: Job, gateway: Gateway, request: InferenceRequest, words: Words, offer: Offer | None = None) -> None:
    """Run it to its end. The request's terminal event is out before readers hear of the job's.

    offer: of tools.
    """
    answer = Answer(job)
    try:
        outcome = await _answered(job, gateway, request, answer, offer)
    except GatewayError as error:
        job.publish("failed", msgspec.Raw(words(error)))
    except asyncio.CancelledError:
        job.publish("failed", cancelled("The job was cancelled."))  # unless whoever cancelled it said more
        raise
    else:
        job.publish("completed", answer.payload(outcome))


async def _answered(
    job: Job, gateway: Gateway, request: InferenceRequest, answer: Answer, offer: Offer | None
) -> Outcome:
    for number in range(STREAMS):
        attempt = _attempt(request, number, stream=True)
        try:
            return await _ask(gateway, attempt, answer, offer)
        except UpstreamError as error:
            if answer.begun or error.retry is False or (offer is not None and offer.told and number + 1 == STREAMS):
                raise
            reason = error.message
    job.publish("downgraded", {"reason": reason})
    return await _ask(gateway, _attempt(request, STREAMS, stream=False), answer)


def _attempt(request: InferenceRequest, number: int, *, stream: bool) -> InferenceRequest:
    """Each attempt is a request of its own to the gateway, with an id that tells them apart."""
    body = {**request.body, "stream": stream}
    request_id = request.request_id if number == 0 else f"{request.request_id}-{number + 1}"
    return msgspec.structs.replace(request, body=body, request_id=request_id, usage_wanted=stream)


async def _ask(gateway: Gateway, request: InferenceRequest, answer: Answer, offer: Offer | None = None) -> Outcome:
    async with gateway.infer(request) as inference:
        exchange = await inference.open()
        if exchange.status >= 400:
            raise await exchange.error()
        answer.dropped = inference.dropped
        await _read(inference, exchange, answer, offer)
    return inference.outcome


async def _read(inference: Inference, exchange: Exchange, answer: Answer, offer: Offer | None) -> None:
    if exchange.streamed:
        async for chunk in read(offer, inference, exchange):
            answer.take(chunk)
    else:
        answer.take_whole(await exchange.body())


def cancelled(reason: str) -> dict[str, Any]:
    """The payload of a job that somebody, or its loneliness, ended."""
    return {"error": {"message": reason, "type": "cancelled", "param": None, "code": "job_cancelled"}}
