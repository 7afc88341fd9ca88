"""Servers of config.yaml, whose lists of models are in the catalog."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lanhaven.engines.scripted import Fault, ScriptedServer
from lanhaven.errors import InvalidRequest, ProviderUnavailable, UpstreamError
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.openai.listing import Listed, listed
from lanhaven.providers.openai.provider import OpenAIProvider, create
from lanhaven.types.models import LoadConfig, ModelKind
from tests.providers.openai.test_provider import Observer
from tests.serving import serving

pytestmark = pytest.mark.anyio
SECRET = "sk-of-this-host-alone"


def listing(*models: Any) -> Fault:
    said = [each if isinstance(each, dict) else {"id": each} for each in models]
    return Fault(path="/v1/models", body=json.dumps({"object": "list", "data": said}))


@asynccontextmanager
async def made(*servers: ScriptedServer, **options: Any) -> AsyncIterator[OpenAIProvider]:
    names = ("pc", "mac")
    hosts = {name: {"base_url": str(each.base_url)} for name, each in zip(names, servers, strict=False)}
    for name, more in options.pop("hosts", {}).items():
        hosts.setdefault(name, {}).update(more)
    context = ProviderContext("openai", Path("/nowhere"), {"list_every": 1e-9, "hosts": hosts, **options})
    async with aclosing(create(context)) as provider:
        yield provider


async def keys(provider: OpenAIProvider) -> Sequence[str]:
    return [each.key for each in await provider.models()]


async def test_the_first_host_gives_a_model_its_own_name() -> None:
    async with ScriptedServer() as pc, ScriptedServer() as mac, made(pc, mac) as provider:
        pc.script(listing("a", "b"))
        mac.script(listing("b", "c"))
        found = {each.key: each for each in await provider.models()}
        assert list(found) == ["a", "b", "mac/b", "c"]
        assert found["mac/b"].config["host"] == "mac"
        assert found["c"].aliases == ("mac/c",)
        loaded = await provider.load(found["mac/b"], "mac/b", LoadConfig(), Observer())
        assert (loaded.upstream.base_url, loaded.upstream.model) == (mac.base_url, "b")


async def test_wanted_ones_with_a_prefix() -> None:
    wanted = {"pc": {"include": ["llama-*", "qwen?"], "exclude": "*-preview", "prefix": "lab/"}}
    async with ScriptedServer() as pc, made(pc, hosts=wanted) as provider:
        pc.script(listing("llama-8b", "llama-9-preview", "qwen3", "gpt"))
        found = {each.key: each for each in await provider.models()}
        assert list(found) == ["lab/llama-8b", "lab/qwen3"]
        assert found["lab/qwen3"].aliases == ("pc/lab/qwen3", "pc/qwen3")
        assert found["lab/qwen3"].config["model"] == "qwen3"


async def test_a_host_that_is_not_to_be_listed_is_not_asked() -> None:
    async with ScriptedServer() as pc, made(pc, hosts={"pc": {"sync": False}}) as provider:
        assert await keys(provider) == []
        assert not pc.requests
        info = provider.describe(ModelEntry("x", "openai", config={"host": "pc"}))
        assert (await provider.load(info, "x", LoadConfig(), Observer())).upstream.base_url == pc.base_url


async def test_models_come_and_go(tmp_path: Path) -> None:
    async with ScriptedServer() as pc:
        options = {"openai": {"hosts": {"pc": str(pc.base_url)}, "list_every": 1e-9}}
        pc.script(listing("a", "b"))
        async with serving(tmp_path, "models: []\n", providers=options) as house:
            catalog = house.services.catalog

            def theirs() -> set[str]:
                return {each.key for each in catalog.models() if each.provider == "openai"}

            assert theirs() == {"a", "b"}
            assert (await house.chat("hi", model="pc/a")).status_code == 200
            pc.script(listing("b", "c"))
            await catalog.ask()
            assert theirs() == {"b", "c"}
            pc.script(Fault(path="/v1/models", status=500))
            await catalog.ask()
            assert theirs() == {"b", "c"}, "away is not empty"
            assert "Server pc answers with status 500" in " ".join(catalog.problems)


async def test_a_list_is_not_asked_for_at_every_turn() -> None:
    async with ScriptedServer() as pc, made(pc, list_every=60) as provider:
        pc.script(listing("a"))
        assert await keys(provider) == ["a"]
        assert await keys(provider) == ["a"]
        assert len(pc.requests) == 1


async def test_one_that_is_down_keeps_the_others() -> None:
    async with ScriptedServer() as pc, ScriptedServer() as mac, made(pc, mac) as provider:
        pc.script(listing("a"))
        mac.script(listing("b"))
        assert await keys(provider) == ["a", "b"]
        mac.crash()
        pc.script(listing("a"))
        assert await keys(provider) == ["a", "b"]
        pc.crash()
        with pytest.raises(ProviderUnavailable, match="Server pc cannot be reached"):
            await provider.models()
        health = await provider.health()
        assert (health.ok, health.detail) == (False, "pc cannot be reached; mac cannot be reached")


async def test_a_wrong_key_and_a_server_without_a_list_say_what_to_do() -> None:
    async with ScriptedServer(key="right") as pc, made(pc, hosts={"pc": {"api_key": SECRET}}) as provider:
        with pytest.raises(ProviderUnavailable, match="Server pc refuses our key") as caught:
            await provider.models()
        assert "api_key" in (caught.value.hint or "")
        health = await provider.health()
        assert (health.ok, health.detail) == (False, "pc refuses our key, or wants one")
        assert SECRET not in f"{caught.value!r} {caught.value.hint} {health} {provider!r}"
    async with ScriptedServer() as pc, made(pc) as provider:
        pc.script(Fault(path="/v1/models", status=404))
        with pytest.raises(UpstreamError, match="has no list of models") as caught_too:
            await provider.models()
        assert "sync: false" in (caught_too.value.hint or "")


@pytest.mark.req("P19")
async def test_a_key_goes_to_its_own_host_only() -> None:
    async with ScriptedServer() as pc, made(pc, hosts={"pc": {"api_key": SECRET}}, api_key="sk-shared") as provider:
        elsewhere = {"hosts": {"pc": "http://10.0.0.9:1", "mac": {"base_url": "http://10.0.0.8:1"}}}
        provider.describe(ModelEntry("x", "openai", config=elsewhere))
        named = provider.describe(ModelEntry("y", "openai", config={"hosts": ["pc"]}))
        running = {each.instance_id: each.upstream for each in await provider.instances() or ()}
        sent = {name: dict(each.headers).get("authorization") for name, each in running.items() if each is not None}
        assert sent == {"pc/x": None, "mac/x": None, "pc/y": f"Bearer {SECRET}"}
        assert named.key == "y"
        other = provider.describe(ModelEntry("z", "openai", config={"base_url": "http://10.0.0.7:1"}))
        loaded = await provider.load(other, "z", LoadConfig(), Observer())
        assert loaded.upstream.headers == (), "an address of its own gets no key that stands beside another"


def test_what_lists_say() -> None:
    answer = {
        "data": [
            {"id": "vllm", "max_model_len": 8192},
            {"id": "router", "context_length": 200_000},
            {"id": "llama", "meta": {"n_ctx": 4096}},
            {"id": "nomic-embed-text"},
            {"id": "bge-reranker-v2"},
            {"id": "eye", "kind": "vlm", "capabilities": ["chat", "vision", "dance"], "quantization": "Q4_K_M"},
            {"id": "broken", "status": "error"},
            {"id": "eye:2", "display_name": "eye", "loaded_context_length": None},
            {"id": ""},
            {"name": "nothing"},
            "text",
        ]
    }
    assert list(listed(answer)) == [
        Listed("vllm", max_context=8192),
        Listed("router", max_context=200_000),
        Listed("llama", max_context=4096),
        Listed("nomic-embed-text", ModelKind.EMBEDDING),
        Listed("bge-reranker-v2", ModelKind.RERANKER),
        Listed("eye", ModelKind.VLM, capabilities=frozenset({"chat", "vision"}), quantization="Q4_K_M"),
    ]
    guessed = Listed("vllm").info("vllm", "openai", "pc")
    assert (guessed.guessed, guessed.capabilities) == (True, {"chat", "completion", "tools"})
    assert list(listed({"data": {}})) == list(listed({})) == []


@pytest.mark.parametrize(
    ("host", "param"),
    [
        ({"include": 5}, "hosts.pc.include"),
        ({"exclude": [""]}, "hosts.pc.exclude"),
        ({"slots": 0}, "hosts.pc.slots"),
        ({"headers": {"via": "x"}}, "hosts.pc.headers"),
        ({"headers": []}, "hosts.pc.headers"),
        ({"model": "x"}, "hosts.pc.model"),
    ],
)
def test_wrong_settings_of_a_host_are_named(host: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(ProviderContext("openai", Path("/nowhere"), {"hosts": {"pc": {"base_url": "http://pc", **host}}}))
    assert caught.value.param == param
