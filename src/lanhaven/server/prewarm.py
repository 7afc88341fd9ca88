"""One tiny request to what was preloaded, so that the first real one does not pay for what an engine does once only."""

from __future__ import annotations

from typing import Any

import structlog

from lanhaven.errors import GatewayError
from lanhaven.server.services import Services
from lanhaven.types.chat import Route
from lanhaven.types.models import ModelInfo
from lanhaven.wire import encode

WAIT = 60.0  # seconds for a slot: real requests go before
_QUESTIONS: tuple[tuple[str, Route, dict[str, Any]], ...] = (
    ("chat", Route.CHAT, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}),
    ("completion", Route.COMPLETION, {"prompt": "Hi", "max_tokens": 1}),
    ("embedding", Route.EMBEDDING, {"input": "Hi"}),
)


async def prewarm(services: Services, instance_ids: tuple[str, ...]) -> None:
    """Ask each of these instances, one after the other, those of engines of ours only: others are not ours to bother.
    No event tells of it. What fails is logged: the first real request will tell."""
    for instance_id in instance_ids:
        instance = services.pool.get(instance_id)
        info = services.catalog.get(instance.model_key) if instance is not None and instance.ours else None
        if info is None:
            continue
        try:
            await _ask(services, info, instance_id)
        except GatewayError as error:
            structlog.get_logger().warning("prewarm_failed", model=info.key, code=error.code, error=error.message)


async def _ask(services: Services, info: ModelInfo, instance_id: str) -> None:
    question = next((each for each in _QUESTIONS if each[0] in info.capabilities), None)
    if question is None:
        return
    _, route, body = question
    async with await services.pool.lease(
        info, request_id="prewarm", instance_id=instance_id, wait=WAIT, only=True
    ) as lease:
        asked = encode(body | {"model": lease.upstream.model})
        exchange = await services.client.send(lease.upstream, route, asked, stream=False)
        try:
            if exchange.status >= 400:
                raise await exchange.error()
            await exchange.body()
        finally:
            exchange.close()
