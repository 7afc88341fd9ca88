"""How long a prompt is, for the APIs that tell it beforehand."""

from __future__ import annotations

import msgspec

from lanhaven.errors import UnsupportedFeature, UpstreamError
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.wire import read_object


async def prompt_tokens(gateway: Gateway, request: InferenceRequest) -> int:
    """Exact, for a request on the route INPUT_TOKENS: the engine counts. One that cannot count alone reads the prompt
    and says how long it was; the prompt cache keeps it for the request that follows."""
    asked = {**request.body, "max_tokens": 1, "stream": False}
    try:
        async with gateway.infer(request) as inference:
            count = read_object(await _whole(inference)).get("input_tokens")
    except UnsupportedFeature:
        async with gateway.infer(msgspec.structs.replace(request, route=Route.CHAT, body=asked)) as inference:
            await _whole(inference)
            count = inference.outcome.usage.prompt_tokens
    if not isinstance(count, int) or count <= 0:
        raise UpstreamError("The model's server does not say how long the prompt is.")
    return count


async def _whole(inference: Inference) -> bytes:
    """The whole reply; raises its error."""
    exchange = await inference.open()
    if exchange.status >= 400:
        raise await exchange.error()
    return await exchange.body()
