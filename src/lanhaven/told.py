"""The events of one request: what is told when it begins, and when it has ended."""

from __future__ import annotations

import asyncio

from lanhaven.errors import GatewayError, InternalError
from lanhaven.events import Failure, InferenceComplete, InferenceStart
from lanhaven.parameters import parameters
from lanhaven.residency.lease import Lease
from lanhaven.types.chat import Dropped, InferenceRequest, Outcome, Timing, Usage


def started(request: InferenceRequest, asked: str | None, images: int) -> InferenceStart:
    """It was accepted. asked: the model that it names."""
    return InferenceStart(
        request_id=request.request_id,
        method=request.method,
        path=request.path,
        dialect=request.dialect,
        model=asked,
        client=request.client,
        address=request.address,
        user_agent=request.user_agent,
        parameters=parameters(request.body, images),
    )


def completed(
    request: InferenceRequest, timing: Timing, lease: Lease | None, outcome: Outcome, dropped: Dropped | None
) -> InferenceComplete:
    """It ended well."""
    start, first_token = timing.accepted, timing.first_token
    return InferenceComplete(
        request_id=request.request_id,
        model_key=lease.model_key if lease else "",
        instance_id=lease.instance_id if lease else "",
        dialect=request.dialect,
        client=request.client,
        streamed=request.stream,
        seconds=(timing.finished or start) - start,
        queue_seconds=(timing.leased or start) - start,
        first_byte_seconds=(timing.first_byte or start) - start,
        finish_reason=outcome.finish_reason,
        usage=outcome.usage,
        dropped=dropped,
        load_seconds=timing.loading,
        first_token_seconds=None if first_token is None else first_token - start,
    )


def failed(
    request: InferenceRequest,
    timing: Timing,
    lease: Lease | None,
    error: BaseException,
    wanted: str | None,
    spent: Usage,
) -> Failure:
    """It ended otherwise. wanted: the key of its model, if it got no instance; spent: tokens that it took."""
    left = isinstance(error, asyncio.CancelledError)
    known = error if isinstance(error, GatewayError) else InternalError("Internal error.")
    start = timing.accepted
    return Failure(
        operation="inference",
        error="The client left." if left else known.message,
        code="client_closed" if left else known.code,
        status=499 if left else known.status,
        request_id=request.request_id,
        model_key=lease.model_key if lease else wanted,
        instance_id=lease.instance_id if lease else None,
        dialect=request.dialect,
        client=request.client,
        cancelled=left,
        seconds=(timing.finished or start) - start,
        streamed=request.stream,
        queue_seconds=None if timing.leased is None else timing.leased - start,
        load_seconds=None if timing.leased is None else timing.loading,
        first_token_seconds=None if timing.first_token is None else timing.first_token - start,
        usage=spent,
    )
