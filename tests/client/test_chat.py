"""Chats with both clients, whole and streamed, against a whole server."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from lanhaven import (
    AsyncClient,
    ChatCompletion,
    ChatCompletionRequest,
    ChatMessage,
    ChatRole,
    Client,
    CompletionRequest,
    EmbeddingRequest,
    FunctionTool,
    ResponseFormat,
    StreamingFailed,
)
from lanhaven.errors import EngineCrashed, GatewayError, InvalidRequest, ModelNotFound, UpstreamError
from lanhaven.events import Failure
from tests.client.both import client
from tests.client.plain import Answer, chunk, plain_server, sse, whole
from tests.serving import serving

pytestmark = pytest.mark.anyio
Kind = type[Client] | type[AsyncClient]
HELLO = ChatCompletionRequest("alpha", [ChatMessage(ChatRole.USER, "one two three")])
CHAT = "/v1/chat/completions"


@pytest.mark.req("S3-01", "S3-02", "S3-05", "S3-06", "S3-07", "S3-20", "C11")
async def test_a_typed_chat(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        request = ChatCompletionRequest(
            model="alpha",
            messages=[ChatMessage(ChatRole.SYSTEM, "Be brief."), ChatMessage(ChatRole.USER, "one two three")],
            stream=False,
            temperature=0.7,
            max_tokens=500,
        )
        answer = await sdk.do("create_chat_completion", request)
        assert answer.choices[0].message.content == "one two three"
        assert answer.choices[0].message.role == ChatRole.ASSISTANT
        assert answer.choices[0].finish_reason == "stop"
        assert answer.text == "one two three"
        assert answer.usage.completion_tokens == 3
        sent = house.sent
        assert (sent["temperature"], sent["max_tokens"], sent["stream"]) == (0.7, 500, False)
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.req("S3-08", "C11")
async def test_a_dictionary_does_as_well(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        messages = [{"role": "user", "content": "one two"}]
        answer = await sdk.do("chat_completion", {"messages": messages, "x_unknown": 7})
        assert answer.choices[0].message.content == "one two"
        streamed = await sdk.every(sdk.plain.stream_chat_completion({"messages": messages}))
        assert "".join(each.text for each in streamed) == "one two"


@pytest.mark.req("S3-08", "S3-43", "C12")
async def test_a_stream_is_an_iterator_of_chunks(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        stream = sdk.plain.stream_chat_completion(HELLO)
        chunks = await sdk.every(stream)
        assert "".join(each.text for each in chunks) == "one two three"
        assert chunks[-1].usage.completion_tokens == 3
        assert not stream.downgraded
        whole = await sdk.run(stream.completion)
        assert whole.text == "one two three"
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage.total_tokens == chunks[-1].usage.total_tokens
    assert not house.named(Failure)


@pytest.mark.req("S3-x1", "S3-39")
async def test_an_observer_sees_the_pieces_of_a_whole_answer(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        pieces: list[Any] = []
        answer = await sdk.do("create_chat_completion", HELLO, on_chunk=pieces.append)
        assert answer.text == "".join(each.text for each in pieces) == "one two three"
        asked = ChatCompletionRequest("alpha", HELLO.messages, stream=True)
        assert (await sdk.do("create_chat_completion", asked)).text == "one two three"
        assert house.sent["stream"] is True


async def test_leaving_a_stream_ends_the_computing(tmp_path: Path, kind: Kind) -> None:
    models = "models:\n  - {id: alpha, provider: mock, config: {answer: count, tokens: 9999, interval_ms: 5}}\n"
    async with serving(tmp_path, models) as house, client(kind, house.url) as sdk:
        stream = sdk.plain.stream_chat_completion(HELLO)
        assert (await sdk.step(stream)).choices
        await sdk.leave(stream)
        await sdk.leave(stream)
        await house.until(lambda: house.services.gateway.inflight == 0)
        assert house.named(Failure)[0].cancelled


async def test_a_dropped_stream_ends_the_computing(tmp_path: Path, kind: Kind) -> None:
    models = "models:\n  - {id: alpha, provider: mock, config: {answer: count, tokens: 9999, interval_ms: 5}}\n"
    async with serving(tmp_path, models) as house, client(kind, house.url) as sdk:
        stream = sdk.plain.stream_chat_completion(HELLO)
        await sdk.step(stream)
        del stream
        gc.collect()
        await house.until(lambda: house.services.gateway.inflight == 0)


async def test_tools_and_formats_are_sent_and_calls_come_back(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        request = ChatCompletionRequest(
            "alpha",
            HELLO.messages,
            tools=[
                FunctionTool("weather", "Of a town.", {"type": "object", "properties": {"town": {"type": "string"}}})
            ],
            tool_choice="auto",
            extra={"mock": {"tool": "weather", "arguments": {"town": "Bern"}}},
        )
        answer = await sdk.do("create_chat_completion", request)
        call = answer.choices[0].message.tool_calls[0]
        assert (call.function.name, call.function.arguments) == ("weather", '{"town": "Bern"}')
        streamed = await sdk.run(sdk.plain.stream_chat_completion(request).completion)
        assert streamed.choices[0].message.tool_calls[0].function == call.function
        assert streamed.choices[0].message.content is None
        assert house.sent["tools"][0]["function"]["description"] == "Of a town."
        back = ChatMessage(ChatRole.TOOL, "sunny", tool_call_id=call.id)
        again = ChatCompletionRequest("alpha", [*HELLO.messages, answer.choices[0].message, back],
                                      response_format=ResponseFormat.schema({"type": "object"}))  # fmt: skip
        await sdk.do("create_chat_completion", again)
        assert house.sent["messages"][-1] == {"role": "tool", "content": "sunny", "tool_call_id": call.id}
        assert house.sent["messages"][-2]["tool_calls"][0]["function"]["name"] == "weather"
        assert house.sent["response_format"]["json_schema"]["schema"] == {"type": "object"}


async def test_reasoning_is_kept_apart(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        request = ChatCompletionRequest("alpha", HELLO.messages, extra={"mock": {"reasoning": "well well"}})
        answer = await sdk.run(sdk.plain.stream_chat_completion(request).completion)
        assert answer.choices[0].message.reasoning_content.strip() == "well well"
        assert answer.text == "one two three"


@pytest.mark.req("S3-16")
async def test_the_default_model_is_sent_where_a_request_names_none(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url, default_model="beta") as sdk:
        answer = await sdk.do("create_chat_completion", ChatCompletionRequest(messages=HELLO.messages))
        assert answer.model == "beta"
        assert (await sdk.do("create_chat_completion", HELLO)).model == "alpha"


@pytest.mark.req("S3-x1")
async def test_completions_and_embeddings(tmp_path: Path, kind: Kind) -> None:
    models = "models:\n  - {id: alpha, provider: mock}\n  - {id: e, provider: mock, config: {kind: embedding}}\n"
    async with (
        serving(tmp_path, models) as house,
        client(kind, house.url, default_model="alpha", default_embedding_model="e") as sdk,
    ):
        text = await sdk.do("create_completion", CompletionRequest(prompt="one two"))
        assert text.text == text.choices[0].text == "one two"
        found = await sdk.do("create_embedding", EmbeddingRequest(input=["a", "b"], dimensions=4))
        assert [len(each.embedding) for each in found.data] == [4, 4]
        assert found.model == "e"


@pytest.mark.req("S3-25", "S3-32")
async def test_a_wrong_request_is_told_by_class_and_context(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        with pytest.raises(ModelNotFound) as missing:
            await sdk.do("create_chat_completion", ChatCompletionRequest("nobody", HELLO.messages))
        assert missing.value.context["endpoint"] == f"{house.url}{CHAT}"
        assert missing.value.context["status"] == 404
        assert missing.value.context["request_id"]
        with pytest.raises(InvalidRequest) as wrong:
            await sdk.do("create_chat_completion", ChatCompletionRequest("alpha", HELLO.messages, temperature=999))
        assert wrong.value.param == "temperature"
        assert wrong.value.context["errors"][0]["path"] == ["temperature"]
        with pytest.raises(InvalidRequest, match="messages"):
            await sdk.do("create_chat_completion", ChatCompletionRequest("alpha"))
        with pytest.raises(InvalidRequest, match="JSON"):
            await sdk.do("chat_completion", {"messages": [{"role": "user", "content": object()}]})


async def test_an_engine_that_dies_mid_stream_is_told_by_its_class(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        request = ChatCompletionRequest(
            "alpha", HELLO.messages, extra={"mock": {"do": "crash", "at": 2, "interval": 0.05}}
        )
        stream = sdk.plain.stream_chat_completion(request, fallback=True)
        assert (await sdk.step(stream)).choices
        with pytest.raises((EngineCrashed, UpstreamError)):
            await sdk.every(stream)
        assert (await sdk.run(stream.completion)).text.startswith("one")


@pytest.mark.req("S3-39")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (sse(chunk("a"), done=False), "before the answer did"),
        (sse(chunk("a"), done=False) + b"data: {", "within a piece"),
        (b"data: {nonsense\n\n", "not JSON"),
        (b'data: {"choices": 7}\n\n', "no choices"),
        (b"data: " + b"x" * (5 << 20), "cannot be read"),
    ],
)
async def test_a_stream_that_cannot_be_whole_is_an_error(kind: Kind, body: bytes, words: str) -> None:
    async with plain_server({CHAT: [Answer(body)]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(StreamingFailed, match=words):
            await sdk.every(sdk.plain.stream_chat_completion(HELLO))
        assert len(server.asked) == 1


async def test_a_stream_without_done_may_end_with_its_finish_reason(kind: Kind) -> None:
    body = sse(chunk("a"), chunk(None, "stop"), done=False)
    async with plain_server({CHAT: [Answer(body)]}) as server, client(kind, server.url) as sdk:
        assert (await sdk.run(sdk.plain.stream_chat_completion(HELLO).completion)).text == "a"


async def test_what_follows_the_end_is_nothing(kind: Kind) -> None:
    body = sse(chunk("a"), chunk(None, "stop")) + sse(chunk("b"), done=False)
    async with plain_server({CHAT: [Answer(body)]}) as server, client(kind, server.url) as sdk:
        assert (await sdk.run(sdk.plain.stream_chat_completion(HELLO).completion)).text == "a"


def test_parts_and_formats() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    message = ChatMessage(ChatRole.USER, [{"type": "text", "text": "What is "}, image, {"type": "text", "text": "it?"}])
    assert message.text == "What is it?"
    assert ChatMessage(ChatRole.ASSISTANT).text == ""
    request = ChatCompletionRequest("m", [message], response_format=ResponseFormat.json_object(), stop=["a"])
    body = request.to_dict()
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["content"][1] == image
    assert body["stop"] == ["a"]
    assert type(body["messages"][0]["role"]) is str


def test_what_has_no_name_or_another_type_is_kept() -> None:
    reply = whole("x") | {"timings": {"n": 1}, "created": "yesterday", "usage": {"total_tokens": True, "cost": 0.5}}
    found = ChatCompletion.read(reply)
    assert found.created == 0
    assert found.extra == {"timings": {"n": 1}, "created": "yesterday"}
    assert found.usage is not None
    assert found.usage.extra == {"total_tokens": True, "cost": 0.5}
    assert found.to_dict()["timings"] == {"n": 1}
    assert ChatCompletion.read(found.to_dict() | {"created": 1}).text == "x"


@pytest.mark.req("C3")
async def test_a_stream_has_an_idle_timeout_only(kind: Kind) -> None:
    body = sse(chunk("a"), done=False)
    async with (
        plain_server({CHAT: [Answer(body, hold=True)]}) as server,
        client(kind, server.url, stream_idle_timeout=0.5) as sdk,
    ):
        stream = sdk.plain.stream_chat_completion(HELLO)
        assert (await sdk.step(stream)).text == "a"
        with pytest.raises(StreamingFailed, match=r"within 0\.5 s") as caught:
            await sdk.step(stream)
        assert caught.value.context["endpoint"] == f"{server.url}{CHAT}"
        assert len(server.asked) == 1


@pytest.mark.req("S3-x6")
async def test_a_stream_that_does_not_begin_falls_back_to_a_whole_answer(kind: Kind) -> None:
    reasons: list[GatewayError | None] = []
    broken = Answer(sse(done=False), cut=True)
    async with (
        plain_server({CHAT: [broken, broken, Answer(whole("all of it"))]}) as server,
        client(kind, server.url, stream_retry=0.001) as sdk,
    ):
        stream = sdk.plain.stream_chat_completion(HELLO, fallback=True, on_downgraded=reasons.append)
        chunks = await sdk.every(stream)
        assert "".join(each.text for each in chunks) == "all of it"
        assert chunks[-1].usage.total_tokens == 3
        assert stream.downgraded
        assert [type(each) for each in reasons] == [StreamingFailed]
        assert [each.body["stream"] for each in server.asked] == [True, True, False]
        assert (await sdk.run(stream.completion)).choices[0].finish_reason == "stop"


@pytest.mark.req("S3-x6")
async def test_without_the_option_or_behind_the_first_piece_nothing_is_asked_for_again(kind: Kind) -> None:
    broken = Answer(sse(chunk("a"), done=False), cut=True)
    async with plain_server({CHAT: [broken]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(StreamingFailed):
            await sdk.every(sdk.plain.stream_chat_completion(HELLO, fallback=True))
        with pytest.raises(StreamingFailed):
            await sdk.every(sdk.plain.stream_chat_completion(HELLO))
        assert len(server.asked) == 2


@pytest.mark.req("S3-x5")
async def test_streaming_can_be_switched_off(kind: Kind) -> None:
    answer = Answer(whole("all of it"))
    async with plain_server({CHAT: [answer]}) as server, client(kind, server.url, enable_streaming=False) as sdk:
        stream = sdk.plain.stream_chat_completion(HELLO)
        assert (await sdk.run(stream.completion)).text == "all of it"
        assert stream.downgraded
        assert [each.body["stream"] for each in server.asked] == [False]


async def test_a_server_that_does_not_stream_is_told_apart(kind: Kind) -> None:
    async with plain_server({CHAT: [Answer(whole("x"))]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(StreamingFailed, match="whole reply"):
            await sdk.every(sdk.plain.stream_chat_completion(HELLO))
        stream = sdk.plain.stream_chat_completion(HELLO, fallback=True)
        assert (await sdk.run(stream.completion)).text == "x"


async def test_blocks_close_what_they_opened(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        async with AsyncClient(house.url) as sdk, sdk.stream_chat_completion(HELLO) as stream:
            assert [each async for each in stream]
        assert repr(sdk) == f"AsyncClient({house.url})"
        async with client(Client, house.url) as both:

            def block() -> str:
                with Client(house.url) as plain, plain.stream_chat_completion(HELLO) as chunks:
                    return "".join(each.text for each in chunks)

            assert await both.run(block) == "one two three"
