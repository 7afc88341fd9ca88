"""What the provider asks of an Ollama, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import GatewayError, InvalidRequest, LoadFailed, ModelNotFound, ProviderUnavailable
from lanhaven.providers.base import Loaded, ModelEntry, ProviderContext
from lanhaven.providers.ollama.provider import OllamaProvider, create
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind
from tests.providers.ollama.fake import CHAT, VECTORS, FakeOllama, tag

pytestmark = pytest.mark.anyio
SHORT = VECTORS.removesuffix(":latest")
SECRET = "behind-a-proxy"


class Observer:
    """Keeps the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def progress(self, stage: str, fraction: float | None = None) -> None:
        self.stages.append(stage)

    def gone(self, error: Exception) -> None:
        raise AssertionError("it cannot know")


def made(**options: Any) -> OllamaProvider:
    return create(ProviderContext("ollama", Path("/nowhere"), options))


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as server:
        yield server


@pytest.fixture
async def provider(ollama: FakeOllama) -> AsyncIterator[OllamaProvider]:
    provider = made(base_url=ollama.url, default_slots=4, prompt_cache_mib=1, engine_stop=1)
    yield provider
    await provider.aclose()


async def load(provider: OllamaProvider, info: ModelInfo, instance: str = "", **asked: Any) -> Loaded:
    return await provider.load(info, instance or info.key, LoadConfig(**asked), Observer())


async def info_of(provider: OllamaProvider, key: str) -> ModelInfo:
    return next(each for each in await provider.models() if each.key == key)


async def test_models(provider: OllamaProvider, ollama: FakeOllama) -> None:
    chat, vectors = await provider.models()
    assert (chat.key, chat.kind, chat.max_context, chat.layers) == (CHAT, ModelKind.LLM, 40960, 36)
    assert chat.capabilities == {"chat", "completion", "tools", "thinking"}
    assert (chat.quantization, chat.architecture, chat.size_bytes) == ("Q4_K_M", "qwen3", 5_000_000)
    assert (vectors.key, vectors.kind, vectors.capabilities) == (SHORT, ModelKind.EMBEDDING, {"embedding"})
    assert set(vectors.aliases) == {VECTORS, f"ollama/{SHORT}", f"ollama/{VECTORS}"}
    await provider.models()
    assert [path for path, _ in ollama.seen].count("/api/show") == 2, "asked once for each"
    ollama.tags[0] = tag(CHAT, digest="d2")
    await provider.models()
    assert [path for path, _ in ollama.seen].count("/api/show") == 3, "and again for another one of the same name"


async def test_a_load_and_its_end(provider: OllamaProvider, ollama: FakeOllama) -> None:
    loaded = await load(
        provider, await info_of(provider, CHAT), "mine", context_length=8192, gpu_layers=20, gpu_ratio=1.0, idle_ttl=60
    )
    body = dict(ollama.seen)["/api/generate"]
    assert body == {
        "model": CHAT,
        "prompt": "",
        "stream": False,
        "keep_alive": 60.0,
        "options": {"num_ctx": 8192, "num_gpu": 20},
    }
    assert (loaded.load_config.context_length, loaded.size_bytes) == (8192, 6_000_000)
    assert loaded.applied == {"contextLength": 8192, "gpu.layers": 20, "ttlSeconds": 60}
    assert [each.key for each in loaded.ignored] == ["gpu.ratio"]
    assert (loaded.upstream.model, loaded.upstream.base_url) == (CHAT, ollama.url)
    await provider.unload("mine")
    await provider.unload("mine")
    assert ollama.loaded == {}


@pytest.mark.parametrize(("ttl", "sent"), [(None, None), (0, -1), (5, 5.0)])
async def test_how_long_it_keeps_it(
    provider: OllamaProvider, ollama: FakeOllama, ttl: float | None, sent: float | None
) -> None:
    await load(provider, await info_of(provider, CHAT), idle_ttl=ttl)
    assert dict(ollama.seen)["/api/generate"].get("keep_alive") == sent


async def test_a_model_that_embeds_is_loaded_by_a_word(provider: OllamaProvider, ollama: FakeOllama) -> None:
    loaded = await load(provider, await info_of(provider, SHORT))
    assert VECTORS in ollama.loaded
    assert loaded.upstream.routes == {"/v1/embeddings"}
    await provider.unload(SHORT)
    assert ollama.loaded == {}


async def test_two_instances_of_one_model_are_one_there(provider: OllamaProvider, ollama: FakeOllama) -> None:
    info = await info_of(provider, CHAT)
    await load(provider, info, "a")
    await load(provider, info, "b")
    assert {each.instance_id for each in await provider.instances() or ()} == {"a", "b"}
    await provider.unload("a")
    assert CHAT in ollama.loaded
    await provider.unload("b")
    assert CHAT not in ollama.loaded


@pytest.mark.req("F-023")
async def test_what_changes_behind_our_back(provider: OllamaProvider, ollama: FakeOllama) -> None:
    await load(provider, await info_of(provider, CHAT), "mine")
    ollama.loaded = {VECTORS: 2048}
    (running,) = await provider.instances() or ()
    assert (running.instance_id, running.model_key, running.size_bytes) == (SHORT, SHORT, 6_000_000)
    assert running.upstream is not None
    assert running.upstream.routes == {"/v1/embeddings"}
    assert running.load_config == LoadConfig(context_length=2048)
    ollama.loaded = {}
    assert await provider.instances() == []


async def test_a_load_that_is_cancelled(provider: OllamaProvider, ollama: FakeOllama) -> None:
    ollama.gate = asyncio.Event()
    info = await info_of(provider, CHAT)
    loading = asyncio.create_task(load(provider, info))
    await _begun(ollama)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await asyncio.wait_for(ollama.left.wait(), 60)
    assert ollama.loaded == {}


async def test_a_model_that_is_listed_while_it_loads_is_nobody_elses(
    provider: OllamaProvider, ollama: FakeOllama
) -> None:
    """Ollama lists it from the beginning of its load on: whoever looks then must not take it for a stranger's."""
    ollama.gate, ollama.loaded = asyncio.Event(), {CHAT: 4096}
    loading = asyncio.create_task(load(provider, await info_of(provider, CHAT), "house"))
    await _begun(ollama)
    assert [each.instance_id for each in await provider.instances() or ()] == ["house"]
    ollama.loaded.clear()
    assert await provider.instances() == [], "or not yet"
    ollama.gate.set()
    await loading
    assert [each.instance_id for each in await provider.instances() or ()] == ["house"]
    await provider.unload("house")
    assert ollama.loaded == {}


async def test_a_load_that_is_cancelled_after_it_was_done(provider: OllamaProvider, ollama: FakeOllama) -> None:
    """Its end is the unload that follows: the provider must know of what."""
    info, ollama.listing = await info_of(provider, CHAT), asyncio.Event()
    loading = asyncio.create_task(load(provider, info, "house"))
    await _begun(ollama, "/api/ps")
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await provider.unload("house")
    assert ollama.loaded == {}


async def test_a_load_of_which_nothing_is_told_afterwards_is_one(provider: OllamaProvider, ollama: FakeOllama) -> None:
    info, ollama.listing = await info_of(provider, CHAT), asyncio.Event()
    loading = asyncio.create_task(load(provider, info, "house"))
    await _begun(ollama, "/api/ps")
    ollama.raw = b"!"
    ollama.listing.set()
    assert (await loading).load_config.context_length is None


async def _begun(ollama: FakeOllama, path: str = "/api/generate") -> None:
    while ollama.seen[-1][0] != path:  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0.005)


async def test_what_ollama_refuses(provider: OllamaProvider, ollama: FakeOllama) -> None:
    info = provider.describe(ModelEntry("absent", "ollama"))
    with pytest.raises(ModelNotFound, match=r"Ollama \(ollama\): model 'absent:latest' not found"):
        await load(provider, info)
    wrong = provider.describe(ModelEntry("v", "ollama", config={"model": VECTORS}))
    with pytest.raises(LoadFailed, match="does not support generate"):
        await load(provider, wrong)


async def test_a_key() -> None:
    async with FakeOllama(key=SECRET) as ollama:
        for key, fine in ((SECRET, True), ("wrong", False)):
            provider = made(hosts={"mac": {"base_url": ollama.url, "api_key": key}})
            try:
                if fine:
                    assert await provider.models()
                    loaded = await load(provider, await info_of(provider, CHAT))
                    assert dict(loaded.upstream.headers) == {"authorization": f"Bearer {SECRET}"}
                    assert SECRET not in f"{provider!r} {loaded!r} {await provider.health()!r}"
                else:
                    with pytest.raises(ProviderUnavailable, match="refuses our key") as caught:
                        await provider.models()
                    assert "api_key" in (caught.value.hint or "")
            finally:
                await provider.aclose()


@pytest.mark.req("F-020")
async def test_several_hosts_of_which_one_is_away(ollama: FakeOllama) -> None:
    async with FakeOllama() as other:
        provider = made(hosts={"pc": {"base_url": ollama.url}, "mac": {"base_url": other.url}})
        keys = [each.key for each in await provider.models()]
        assert keys == [CHAT, SHORT, f"mac/{CHAT}", f"mac/{SHORT}"]
        await load(provider, await info_of(provider, f"mac/{CHAT}"))
        assert (ollama.loaded, list(other.loaded)) == ({}, [CHAT])
        assert (await provider.health()).detail == "pc 0.17.2, 2 models; mac 0.17.2, 2 models"
    try:
        assert [each.key for each in await provider.models()] == keys, "what it said last"
        assert [each.instance_id for each in await provider.instances() or ()] == [f"mac/{CHAT}"]
        health = await provider.health()
        assert (health.ok, health.detail) == (True, "pc 0.17.2, 2 models; mac cannot be reached")
        assert "127.0.0.1" not in health.detail
        with pytest.raises(ProviderUnavailable, match=r"Ollama \(mac\) cannot be reached"):
            await load(provider, await info_of(provider, f"mac/{SHORT}"))
    finally:
        await provider.aclose()


@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"[]", b"\xff", b"[" * 100_000, b'{"models": 3}', b'{"models": [3, {}]}']
)
async def test_what_is_no_answer(provider: OllamaProvider, ollama: FakeOllama, raw: bytes) -> None:
    ollama.raw = raw
    for ask in (provider.models, provider.instances):
        try:
            assert not await ask()
        except GatewayError as error:
            assert "Ollama (ollama) answered with status 200" in error.message  # noqa: PT017 - either is fine


@pytest.mark.req("S4-12")
async def test_nothing_configured() -> None:
    provider = made(no_default=True)
    assert (await provider.models(), await provider.instances()) == ((), [])
    assert (await provider.health()).detail == "not configured"
    with pytest.raises(InvalidRequest, match="There is no Ollama") as caught:
        provider.describe(ModelEntry("x", "ollama"))
    assert "base_url" in (caught.value.hint or "")
    assert provider.logs("x") == ()
    await provider.aclose()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"base_url": "pc:11434"}, "config.base_url: 'pc:11434' is not the address"),
        ({"base_url": "http://u:p@pc"}, "must not hold a user name"),
        ({"hosts": {"pc": {}}}, "Host pc needs a base_url"),
        ({"hosts": {"a b": {"base_url": "http://pc"}}}, "no name for a host"),
        ({"hosts": [1]}, "must be a mapping"),
        ({"base_url": "http://pc:0"}, "port 0"),
        ({"hosts": {"pc": "http://p c"}}, "hosts.pc: config.base_url must be an address"),
        ({"hosts": {"pc": {"base_url": "http://pc", "token": "x"}}}, "token is no setting"),
        ({"base_url": "http://pc", "api_key": "a\nb"}, "no header can carry"),
        ({"base_ulr": "http://pc"}, "did you mean base_url"),
        ({"answer_timeout": 0}, "more than 0"),
    ],
)
async def test_wrong_settings_are_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        made(**options)


async def test_an_entry_may_mean_the_ollama_of_this_machine() -> None:
    provider = made()
    assert (await provider.health()).detail == "not configured"
    assert provider.describe(ModelEntry("x", "ollama")).config == {}
    assert (await provider.health()).address == "http://127.0.0.1:11434"
    await provider.aclose()


async def test_entries(provider: OllamaProvider) -> None:
    await provider.models()
    info = provider.describe(ModelEntry("house", "ollama", config={"model": SHORT}))
    assert (info.key, info.kind, info.max_context) == ("house", ModelKind.EMBEDDING, 2048)
    told = provider.describe(ModelEntry("later", "ollama", config={"kind": "embedding"}))
    assert (told.kind, told.capabilities) == (ModelKind.EMBEDDING, {"embedding"})
    for config, named in (
        ({"host": "mac"}, "no Ollama host 'mac'"),
        ({"kind": "cat"}, "one of"),
        ({"x": 1}, "x is no"),
    ):
        with pytest.raises(InvalidRequest, match=named):
            provider.describe(ModelEntry("e", "ollama", config=config))
