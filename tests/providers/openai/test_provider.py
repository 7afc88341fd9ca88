"""The openai provider: addresses, keys, what it forwards to, and a server that is down."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from lanhaven.engines.scripted import Fault, ScriptedModel, ScriptedServer
from lanhaven.errors import GatewayError, InvalidRequest, ProviderUnavailable
from lanhaven.providers.base import Loaded, ModelEntry, ProviderContext
from lanhaven.providers.openai.provider import OpenAIProvider, create
from lanhaven.types.models import LoadConfig, ModelInfo, Upstream
from lanhaven.upstream.pool import Timers, UpstreamClient

pytestmark = pytest.mark.anyio
SECRET = "sk-very-secret-value"
URL = "http://10.0.0.5:8000"


class Observer:
    """Listens to nothing."""

    def progress(self, stage: str, fraction: float | None = None) -> None:
        return

    def gone(self, error: Exception) -> None:
        raise AssertionError("it cannot know")


def provider(**options: Any) -> OpenAIProvider:
    return create(ProviderContext("openai", Path("/nowhere"), options))


def described(made: OpenAIProvider, key: str = "big", **config: Any) -> ModelInfo:
    return made.describe(ModelEntry(key, "openai", config=config))


async def loaded(made: OpenAIProvider, asked: LoadConfig | None = None, **config: Any) -> Loaded:
    return await made.load(described(made, **config), "big", asked or LoadConfig(), Observer())


async def ask(upstream: Upstream) -> dict[str, Any]:
    client = UpstreamClient(Timers(connect=1))
    try:
        body = json.dumps({"model": upstream.model, "messages": [{"role": "user", "content": "hi"}]}).encode()
        exchange = await client.send(upstream, "/v1/chat/completions", body, stream=False)
        value: dict[str, Any] = json.loads(await exchange.body())
        return value
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    ("base_url", "origin", "prefix"),
    [
        ("http://h:1", "http://h:1", ""),
        ("http://h:1/", "http://h:1", ""),
        ("http://h:1/v1", "http://h:1", ""),
        ("https://h/v1/", "https://h", ""),
        ("https://h/api/v1", "https://h", "/api"),
        ("https://h/openai", "https://h", "/openai"),
        ("http://[::1]:8080/v1", "http://[::1]:8080", ""),
    ],
)
async def test_addresses(base_url: str, origin: str, prefix: str) -> None:
    upstream = (await loaded(provider(), base_url=base_url)).upstream
    assert (upstream.base_url, upstream.prefix, upstream.model) == (origin, prefix, "big")


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "h:1",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h:0",
        "http://u:p@h",
        "http://h/?a=1",
        "http://h/#x",
        "http://h/a b",
        "http://h\r\nx: y",
        "http://[::1",
        "file:///etc/passwd",
    ],
)
async def test_what_is_no_address(base_url: str) -> None:
    with pytest.raises(InvalidRequest, match="base_url"):
        described(provider(), base_url=base_url)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "base_url"),
        ({"base_url": URL, "modle": "x"}, "modle"),
        ({"base_url": URL, "slots": "many"}, "slots"),
        ({"base_url": URL, "host": "pc"}, "base_url and host"),
        ({"host": "pc"}, "no openai host 'pc'"),
        ({"hosts": []}, "names no host"),
        ({"hosts": ["pc"]}, "Host pc needs a base_url"),
        ({"base_url": URL, "headers": {"x": "a\nb"}}, "'x'"),
        ({"base_url": URL, "headers": {"a b": "c"}}, "'a b'"),
        ({"base_url": URL, "headers": {"Content-Length": "0"}}, "Content-Length"),
        ({"base_url": URL, "api_key": "schlüssel"}, "api_key"),
    ],
)
async def test_wrong_settings_are_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        described(provider(), **config)


async def test_settings_shared_by_all_models() -> None:
    made = provider(base_url=URL, api_key=SECRET, default_slots=4)
    upstream = (await loaded(made, model="there")).upstream
    assert (upstream.base_url, upstream.model) == (URL, "there")
    assert dict(upstream.headers) == {"authorization": f"Bearer {SECRET}"}
    own = (await loaded(made, base_url="http://other", api_key="k2")).upstream
    assert own.base_url == "http://other"
    assert dict(own.headers) == {"authorization": "Bearer k2"}


async def test_keys_are_never_shown() -> None:
    async with aclosing(provider(base_url=URL, api_key=SECRET, headers={"x-team": SECRET})) as made:
        result = await loaded(made)
        health = await made.health()
        assert SECRET not in f"{made!r} {result.upstream!r} {health!r} {result.applied} {result!r}"


async def test_kinds_have_their_routes() -> None:
    made = provider(base_url=URL)
    assert "/v1/embeddings" in (await loaded(made, kind="embedding")).upstream.routes
    assert "/v1/rerank" in (await loaded(made, kind="reranker")).upstream.routes
    assert described(made, kind="embedding").capabilities == {"embedding"}
    assert described(made, capabilities=["chat"]).capabilities == {"chat"}


@pytest.mark.req("C9")
async def test_pictures_and_sound_are_for_servers_that_say_so() -> None:
    made = provider(base_url=URL)
    assert "/v1/audio/speech" not in (await loaded(made)).upstream.routes
    able = await loaded(made, capabilities=["speech", "image_edit"])
    assert {"/v1/audio/speech", "/v1/images/edits"} <= able.upstream.routes
    assert "/v1/images/generations" not in able.upstream.routes


async def test_what_another_server_decides_is_said() -> None:
    asked = LoadConfig(context_length=4096, gpu_ratio=1.0, slots=3)
    result = await loaded(provider(base_url=URL), asked, context_length=8192)
    assert [each.key for each in result.ignored] == ["contextLength", "gpu.ratio"]
    assert result.applied == {"slots": 3}
    assert (result.upstream.slots, result.load_config.context_length) == (3, 8192)


async def test_it_answers_through_it() -> None:
    async with ScriptedServer(ScriptedModel("there"), key=SECRET) as server:
        made = provider()
        result = await loaded(made, base_url=f"{server.base_url}/v1", model="there", api_key=SECRET)
        assert result.upstream.reuse_after_stream
        assert (await ask(result.upstream))["model"] == "there"
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_a_load_needs_no_server_and_a_request_says_what_is_missing() -> None:
    result = await loaded(provider(), base_url="http://127.0.0.1:9/v1", model="nobody")
    with pytest.raises(ProviderUnavailable) as caught:
        await ask(result.upstream)
    assert "'nobody' is not running" in caught.value.message
    assert "127.0.0.1" not in caught.value.message


async def test_a_wrong_key_is_ours_to_mend() -> None:
    async with ScriptedServer(key="right") as server:
        result = await loaded(provider(), base_url=server.base_url, api_key="wrong")
        with pytest.raises(GatewayError) as caught:
            await ask(result.upstream)
        assert caught.value.status == 502
        assert "api_key" in (caught.value.hint or "")


async def test_health() -> None:
    async with aclosing(provider()) as made:
        assert (await made.health()).ok
        async with ScriptedServer() as server:
            described(made, base_url=server.base_url)
            assert (await made.health()).detail == "1 of 1 servers answer"
            described(made, "other", base_url="http://127.0.0.1:9")
            health = await made.health()
            assert (health.ok, health.detail) == (False, "1 of 2 servers answer")
            assert "127.0.0.1" not in health.detail
            server.script(Fault(status=500))
            assert (await made.health()).detail == "0 of 2 servers answer"
            server.script(Fault(status=302, headers={"location": "http://127.0.0.1:9"}))
            assert (await made.health()).detail == "1 of 2 servers answer"


async def test_an_address_that_was_corrected_is_no_part_of_the_health_any_more() -> None:
    async with ScriptedServer() as server, aclosing(provider()) as made:
        described(made, base_url="http://127.0.0.1:9")
        assert (await made.health()).detail == "0 of 1 servers answer"
        described(made, base_url=server.base_url)
        health = await made.health()
        assert (health.ok, health.detail) == (True, "1 of 1 servers answer")


async def test_health_answers_in_time() -> None:
    async with ScriptedServer() as server, aclosing(provider()) as made:
        server.script(Fault(delay=30))
        described(made, base_url=server.base_url)
        assert not (await made.health()).ok


async def test_books() -> None:
    made = provider(base_url=URL)
    await loaded(made)
    assert [each.instance_id for each in await made.instances() or ()] == ["big"]
    assert made.estimate(described(made), LoadConfig()) == 0
    assert await made.models() == ()
    await made.unload("big")
    await made.unload("absent")
    await made.aclose()
