"""Tools for models whose template knows none, in OpenAI's words: the stream of the answer's JSON (tools.py) becomes a
stream with tool calls, and a whole answer is its fold."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from lanhaven.dialects.base import Call
from lanhaven.dialects.chunks import ChunkChoice, ToolCallDelta, chunks
from lanhaven.dialects.tools import Told
from lanhaven.inference import Inference
from lanhaven.types.chat import Usage
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import DONE, encode, sse

Json = dict[str, Any]


async def relay_told(
    told: Told, stream: bool, usage_wanted: bool, call: Call, inference: Inference, exchange: Exchange
) -> None:
    """The upstream was asked for a stream; `stream` and `usage_wanted` are what the client asked for."""
    head = {
        "id": f"chatcmpl-{secrets.token_urlsafe(18)}",
        "created": time.time_ns() // 10**9,
        "model": exchange.upstream.model,
    }
    deltas = read(told, exchange)
    if not stream:
        choice = await fold(deltas)
        body = head | {"object": "chat.completion", "choices": [choice], "usage": usage_json(exchange.outcome.usage)}
        await call.reply(200, encode(body))
        return
    head["object"] = "chat.completion.chunk"
    async for choice in deltas:
        await call.start()
        await call.write(sse(encode(head | {"choices": [choice]})))
    if usage_wanted:
        await call.write(sse(encode(head | {"choices": [], "usage": usage_json(exchange.outcome.usage)})))
    await call.write(DONE)
    await call.finish()


async def read(told: Told, exchange: Exchange) -> AsyncIterator[Json]:
    """The choices of the chunks, as OpenAI writes them."""
    yield {"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}
    async for chunk in told.read(chunks(exchange)):
        for choice in chunk.choices:
            yield choice_json(choice)


def choice_json(choice: ChunkChoice) -> Json:
    """One choice of a chunk; what is not there is left out."""
    delta: Json = {}
    if choice.delta.content:
        delta["content"] = choice.delta.content
    if choice.delta.thought:
        delta["reasoning_content"] = choice.delta.thought
    if choice.delta.tool_calls:
        delta["tool_calls"] = [call_json(each) for each in choice.delta.tool_calls]
    return {"index": 0, "delta": delta, "finish_reason": choice.finish_reason}


def call_json(call: ToolCallDelta) -> Json:
    """A tool call."""
    function = call.function
    return {
        "index": call.index,
        "id": call.id,
        "type": "function",
        "function": {"name": function.name if function else "", "arguments": function.arguments if function else ""},
    }


async def fold(choices: AsyncIterator[Json]) -> Json:
    """The whole answer that a stream of choices amounts to."""
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
    calls: list[Json] = []
    finish = None
    async for choice in choices:
        delta = choice["delta"]
        for name, pieces in texts.items():
            pieces.append(delta.get(name) or "")
        calls += ({key: value for key, value in each.items() if key != "index"} for each in delta.get("tool_calls", ()))
        finish = choice["finish_reason"] or finish
    message: Json = {"role": "assistant", "content": "".join(texts["content"]) or (None if calls else "")}
    if thought := "".join(texts["reasoning_content"]):
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    return {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}


def usage_json(usage: Usage) -> Json:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
