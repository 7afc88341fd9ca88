"""The scripted server as OpenAI's own client sees it, and what it remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from lanhaven.engines import scripted
from lanhaven.engines.scripted import Act, Fault, ScriptedModel, ScriptedServer
from lanhaven.engines.scripted_answers import sample, vector
from lanhaven.engines.scripted_script import Script, step_of

pytestmark = pytest.mark.anyio

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(ScriptedModel(context=50)) as scripted:
        yield scripted


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="k", max_retries=0) as made:
        yield made


def user(text: str) -> list[Any]:
    return [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]


async def test_echo(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="m", messages=user("hello you there"))
    assert reply.choices[0].message.content == "hello you there"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "m"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 3)


async def test_a_stream_says_the_same(client: openai.AsyncOpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="m", messages=user("a b c"), stream=True, stream_options=options, n=2
    )
    texts, usage = ["", ""], None
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["a b c", "a b c"]
    assert usage is not None
    assert usage.completion_tokens == 6


@pytest.mark.parametrize(
    ("fields", "text", "finish"),
    [
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_completion_tokens": 1, "max_tokens": 3}, "one", "length"),
        ({"max_tokens": 4}, "one two three four", "stop"),
        ({"stop": ["three"]}, "one two", "stop"),
        ({"stop": " two"}, "one", "stop"),
        ({"extra_body": {"mock": {"text": "exactly this"}}}, "exactly this", "stop"),
        ({"extra_body": {"mock": {"tokens": 3, "nonce": "x-"}}}, "x-tok0 x-tok1 x-tok2", "stop"),
    ],
)
async def test_lengths_and_stops(client: openai.AsyncOpenAI, fields: dict[str, Any], text: str, finish: str) -> None:
    reply = await client.chat.completions.create(model="m", messages=user("one two three four"), **fields)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (text, finish)


async def test_random_words_follow_the_seed(client: openai.AsyncOpenAI) -> None:
    async def words(seed: int) -> str | None:
        extra = {"mock": {"answer": "random", "tokens": 12}}
        reply = await client.chat.completions.create(model="m", messages=user("x"), seed=seed, extra_body=extra)
        return reply.choices[0].message.content

    assert await words(1) == await words(1) != await words(2)


@pytest.mark.parametrize(
    ("text", "fields", "called"),
    [
        ("what is the weather", {}, True),
        ("hello", {}, False),
        ("hello", {"tool_choice": "required"}, True),
        ("weather", {"tool_choice": "none"}, False),
        ("hello", {"tool_choice": {"type": "function", "function": {"name": "weather"}}}, True),
        ("hello", {"extra_body": {"mock": {"tool": "weather"}}}, True),
    ],
)
async def test_tools(client: openai.AsyncOpenAI, text: str, fields: dict[str, Any], called: bool) -> None:
    reply = await client.chat.completions.create(model="m", messages=user(text), tools=[TOOL], **fields)
    calls: Any = reply.choices[0].message.tool_calls
    assert bool(calls) is called
    assert (reply.choices[0].finish_reason == "tool_calls") is called
    if called:
        assert calls[0].function.name == "weather"
        assert json.loads(calls[0].function.arguments) == {"city": "text", "days": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"description": "nameless"}}]},
        {"tools": [{"type": "function", "function": {"name": "x", "parameters": []}}], "tool_choice": "required"},
        {"response_format": {"type": "json_schema", "json_schema": None}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": 5}}}},
    ],
)
async def test_what_cannot_be_read_is_refused(client: openai.AsyncOpenAI, fields: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="m", messages=user("x"), **fields)


async def test_a_streamed_call_comes_in_pieces(client: openai.AsyncOpenAI) -> None:
    extra = {"mock": {"arguments": {"city": "Reykjavik", "days": 3}}}
    stream = await client.chat.completions.create(
        model="m", messages=user("weather"), tools=[TOOL], stream=True, extra_body=extra
    )
    pieces = [
        call.function.arguments or ""
        async for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.function
    ]
    assert len(pieces) > 3
    assert json.loads("".join(pieces)) == {"city": "Reykjavik", "days": 3}


async def test_reasoning_comes_first(client: openai.AsyncOpenAI) -> None:
    extra = {"mock": {"reasoning": "let me think"}}
    reply = await client.chat.completions.create(model="m", messages=user("a"), extra_body=extra)
    said: Any = reply.choices[0].message
    assert (said.reasoning_content, said.content) == ("let me think", "a")


async def test_json_that_fits_the_schema(client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = await client.chat.completions.create(model="m", messages=user("a"), response_format=wanted)
    assert json.loads(reply.choices[0].message.content or "") == {"age": 1}


def test_samples() -> None:
    schema = {"properties": {"a": {"enum": ["x"]}, "b": {"type": ["string", "null"]}, "c": {"type": "array"}}}
    assert sample(schema) == {"a": "x", "b": "text", "c": ["text"]}
    assert sample({"anyOf": [{"const": 3}]}) == 3


async def test_text_completions(client: openai.AsyncOpenAI) -> None:
    reply = await client.completions.create(model="m", prompt="once upon a time", max_tokens=2)
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("once upon", "length")
    stream = await client.completions.create(model="m", prompt="once upon", stream=True)
    assert "".join([choice.text async for chunk in stream for choice in chunk.choices]) == "once upon"


async def test_embeddings() -> None:
    async with ScriptedServer(ScriptedModel(kind="embedding", dimensions=16)) as server:
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="k") as client:
            reply = await client.embeddings.create(model="m", input=["red apple", "green apple", "stone wall"])
            with pytest.raises(openai.InternalServerError):
                await client.with_options(max_retries=0).chat.completions.create(model="m", messages=user("x"))
        apple, green, wall = (each.embedding for each in reply.data)
        assert len(apple) == 16
        assert sum(a * b for a, b in zip(apple, green, strict=True)) > sum(
            a * b for a, b in zip(apple, wall, strict=True)
        )
        assert apple == pytest.approx(vector("red apple", 16), abs=1e-6)


async def test_rerank_and_counts() -> None:
    async with (
        ScriptedServer(ScriptedModel(kind="reranker")) as server,
        httpx2.AsyncClient(base_url=str(server.base_url), trust_env=False) as http,
    ):
        reply = await http.post(
            "/v1/rerank", json={"query": "blue sea", "documents": ["red", "the blue sea"], "top_n": 1}
        )
        assert reply.json()["results"] == [{"index": 1, "relevance_score": 1.0}]
        assert (await http.post("/v1/rerank", json={"query": "x"})).status_code == 400
        assert len((await http.post("/tokenize", json={"content": "a b c"})).json()["tokens"]) == 3
        counted = await http.post("/v1/chat/completions/input_tokens", json={"messages": user("x y")})
        assert counted.json() == {"input_tokens": 4}
        assert (await http.get("/health")).json() == {"status": "ok"}
        assert (await http.get("/nowhere")).status_code == 404


async def test_a_prompt_over_the_context(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
        await client.chat.completions.create(model="m", messages=user("x " * 60))


@pytest.mark.parametrize(
    "body", [{"messages": "x"}, {"messages": ["x"]}, {"messages": [], "n": "2"}, {"mock": {"do": "?"}}, [], 7]
)
async def test_what_it_refuses(server: ScriptedServer, body: object) -> None:
    async with httpx2.AsyncClient(base_url=str(server.base_url), trust_env=False) as http:
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 400


async def test_a_key() -> None:
    async with ScriptedServer(key="right") as server:
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="right") as client:
            assert [each.id async for each in client.models.list()] == ["mock"]


async def test_slots_are_a_queue(server: ScriptedServer, client: openai.AsyncOpenAI) -> None:
    extra = {"mock": {"delay": 0.02}}
    await asyncio.gather(
        *(client.chat.completions.create(model="m", messages=user("x"), extra_body=extra) for _ in range(10))
    )
    assert server.most_running == 4
    assert server.generations == 10
    assert server.running == 0


async def test_it_remembers_who_left(server: ScriptedServer, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="m", messages=user("a b c d"), stream=True, extra_body={"mock": {"do": "stall", "at": 2}}
    )
    await anext(aiter(stream))
    await stream.close()
    await server.until(lambda: server.disconnects == 1)
    assert server.requests[0].left
    assert server.requests[0].body["messages"][1]["content"] == "a b c d"


async def test_scripts_by_path_and_number(server: ScriptedServer, client: openai.AsyncOpenAI) -> None:
    server.script(Fault(status=503, path="/v1/completions"), Fault(status=429, times=2))
    for _ in range(2):
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="m", messages=user("x"))
    await client.chat.completions.create(model="m", messages=user("x"))
    with pytest.raises(openai.InternalServerError):
        await client.completions.create(model="m", prompt="x")


async def test_a_crash_is_the_end() -> None:
    crashed = asyncio.Event()
    async with ScriptedServer(on_crash=crashed.set) as server:
        server.script(Fault(do=Act.CRASH, at=1))
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="k", max_retries=0) as client:
            with pytest.raises(openai.APIConnectionError):
                async for _ in await client.chat.completions.create(model="m", messages=user("a b"), stream=True):
                    pass
            assert crashed.is_set()
            with pytest.raises(openai.APIConnectionError):
                await client.models.list()
    assert server.open == 0


async def test_the_prompt_is_written_out(server: ScriptedServer) -> None:
    async with httpx2.AsyncClient(base_url=str(server.base_url)) as http:
        reply = await http.post("/apply-template", json={"messages": [{"role": "user", "content": "x y"}]})
        assert reply.json() == {"prompt": "<|user|>x y\n<|assistant|>"}


async def test_the_progress_of_the_prompt_is_told_to_whom_it_concerns(client: openai.AsyncOpenAI) -> None:
    async def told(**extra: Any) -> list[Any]:
        ask = [{"role": "user", "content": "a b c d"}]
        stream = await client.chat.completions.create(model="m", messages=ask, stream=True, extra_body=extra)
        return [each.model_extra.get("prompt_progress") async for each in stream]

    steps = [each for each in await told(return_progress=True) if each]
    assert [each["processed"] for each in steps] == [0, 2, 4]
    assert not any(await told())


async def test_servers_share_a_script() -> None:
    script = Script()
    script.add(step_of("from the script"))
    async with ScriptedServer(shared=script) as one, ScriptedServer(shared=script) as other:
        for server, expected in ((one, "from the script"), (other, "hi")):
            async with httpx2.AsyncClient(base_url=str(server.base_url)) as http:
                await http.get("/v1/models")
                reply = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
                assert reply.json()["choices"][0]["message"]["content"] == expected
    assert len(script.seen) == 2


async def test_what_it_was_asked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted, "MOST_REQUESTS", 10)
    async with ScriptedServer() as server, httpx2.AsyncClient(base_url=str(server.base_url)) as http:
        for _ in range(40):
            await http.get("/health")
        assert len(server.requests) <= 11
        assert server.disconnects == 0
