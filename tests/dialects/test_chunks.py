"""Chunks of real engines, decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.dialects.chunks import chunks, read_chunk
from lanhaven.errors import UpstreamError
from lanhaven.types.chat import InferenceRequest, Route
from tests.serving import serving


def test_content_reasoning_and_a_tool_call() -> None:
    chunk = read_chunk(
        b'{"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"finish_reason":null,"delta":{"content":"a",'
        b'"reasoning_content":"b","tool_calls":[{"index":1,"id":"c","type":"function","function":{"name":"f",'
        b'"arguments":"{"}}]}}]}'
    )
    delta = chunk.choices[0].delta
    assert (delta.content, delta.thought) == ("a", "b")
    assert delta.tool_calls is not None
    call = delta.tool_calls[0]
    assert call.function is not None
    assert (call.index, call.id, call.function.name, call.function.arguments) == (1, "c", "f", "{")


def test_absent_and_null_are_alike() -> None:
    assert read_chunk(b'{"choices":[{"delta":{"content":null}}]}') == read_chunk(b'{"choices":[{"delta":{}}]}')
    assert read_chunk(b'{"choices":[],"usage":{"prompt_tokens":3}}').usage == {"prompt_tokens": 3}


def test_the_other_name_of_reasoning() -> None:
    assert read_chunk(b'{"choices":[{"delta":{"reasoning":"hm"}}]}').choices[0].delta.thought == "hm"


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"choices":[{"delta":{"content":1}}]}'])
def test_what_cannot_be_used(data: bytes) -> None:
    with pytest.raises(UpstreamError):
        read_chunk(data)


@pytest.mark.anyio
async def test_every_chunk_of_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = {"model": "alpha", "messages": [{"role": "user", "content": "one two three"}], "stream": True}
        request = InferenceRequest(Route.CHAT, body, request_id="r1", path="/x")
        async with house.services.gateway.infer(request) as inference:
            exchange = await inference.open()
            text = "".join([choice.delta.content or "" async for chunk in chunks(exchange) for choice in chunk.choices])
            assert text
            assert exchange.outcome.finish_reason == "stop"
            assert exchange.outcome.usage.completion_tokens > 0
