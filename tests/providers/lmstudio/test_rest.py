"""Where LM Studio lets no WebSocket in, its REST API does what it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lanhaven.errors import LoadFailed, ModelNotFound, ProviderUnavailable
from lanhaven.types.models import LoadConfig
from tests.lmstudio.studio import CHAT, EMBEDDING, SEEING
from tests.providers.lmstudio.case import Case, case

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world() -> AsyncIterator[Case]:
    async with case() as made:
        made.studio.refuses = 403
        yield made


@pytest.mark.req("S1-01")
async def test_models_and_what_runs_are_listed(world: Case) -> None:
    world.studio.load_by_hand(CHAT, "by-hand")
    infos = await world.provider.models()
    assert [(each.key, each.kind.value, each.max_context) for each in infos] == [
        (CHAT, "llm", 32768),
        (SEEING, "vlm", 32768),
        (EMBEDDING, "embedding", 32768),
    ]
    (found,) = await world.provider.instances() or ()
    assert (found.instance_id, found.model_key) == ("by-hand", CHAT)
    assert found.load_config == LoadConfig(context_length=4096, slots=4)


@pytest.mark.req("S1-02", "C14")
async def test_a_load_applies_what_the_rest_api_knows_and_tells_the_rest(world: Case) -> None:
    config = LoadConfig(context_length=8192, flash_attention=True, gpu_ratio=0.5, cpu_threads=4, idle_ttl=60.0)
    loaded = await world.load(CHAT, "primary", config)
    body = {"model": CHAT, "echo_load_config": True, "context_length": 8192, "flash_attention": True}
    assert ("POST", "/api/v1/models/load", body) in world.studio.rest
    assert loaded.upstream.model == CHAT, "the REST API names instances itself"
    assert loaded.applied == {"contextLength": 8192, "flashAttention": True, "ttlSeconds": 60.0}
    assert {each.key for each in loaded.ignored} == {"gpu.ratio", "cpuThreads"}
    assert loaded.load_config == LoadConfig(context_length=8192, slots=4, flash_attention=True, idle_ttl=60.0)
    assert await world.running() == ["primary"]
    await world.provider.unload("primary")
    assert not world.studio.loaded
    await world.provider.unload("primary")


async def test_an_instance_that_is_gone_there_is_unloaded_all_the_same(world: Case) -> None:
    await world.load(CHAT, "primary")
    world.studio.unload_by_hand(CHAT)
    await world.provider.unload("primary")


async def test_a_model_that_it_does_not_have(world: Case) -> None:
    with pytest.raises(ModelNotFound, match="LM Studio: Model no-such not found"):
        await world.load("no-such")


@pytest.mark.parametrize("body", ["<html>", "[]", "3", '{"models": 5}', '{"models": [5, {}, {"key": 5}]}'])
async def test_replies_that_are_none_do_no_harm(world: Case, body: str) -> None:
    world.studio.rest_reply = body
    if body.startswith("{"):
        assert await world.provider.models() == ()
    else:
        with pytest.raises(ProviderUnavailable):
            await world.provider.models()


async def test_a_load_that_fails_gives_its_own_words(world: Case) -> None:
    world.studio.load_error = {"title": "out of memory"}
    with pytest.raises(LoadFailed, match="LM Studio: out of memory"):
        await world.load()


async def test_a_cancelled_load_is_unloaded_when_it_is_there(world: Case) -> None:
    world.studio.gate = asyncio.Event()
    loading = asyncio.create_task(world.load())
    await world.studio.loading.wait()
    loading.cancel()
    await asyncio.sleep(0)
    world.studio.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert [path for method, path, _ in world.studio.rest if method == "POST"] == [
        "/api/v1/models/load",
        "/api/v1/models/unload",
    ]
    assert not world.studio.loaded


async def test_health_says_that_only_rest_is_left(world: Case) -> None:
    health = await world.provider.health()
    assert (health.ok, health.version) == (True, "0.4.7")
    assert "by REST only: the WebSocket is refused (its server answered 403 to the WebSocket)" in health.detail


async def test_a_refusal_is_believed_for_a_while(world: Case) -> None:
    await world.provider.models()
    world.studio.refuses = None
    await world.provider.models()
    assert not world.studio.opened


async def test_after_a_while_the_socket_is_tried_again(world: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanhaven.providers.lmstudio.link.REFUSED_FOR", 0.0)
    await world.provider.models()
    world.studio.refuses = None
    await world.provider.models()
    assert world.studio.opened == {"system": 1}


async def test_a_wrong_token_is_told_as_ours(world: Case) -> None:
    world.studio.refuses, world.studio.token = None, ("abcdefgh", "x" * 20)
    with pytest.raises(ProviderUnavailable, match="refuses our API token") as caught:
        await world.provider.models()
    assert "api_token" in (caught.value.hint or "")
    health = await world.provider.health()
    assert (health.ok, health.detail) == (False, "lmstudio refuses our API token, or wants one")


async def test_an_old_lm_studio_without_rest_api_says_so(world: Case) -> None:
    world.studio.has_rest = False
    with pytest.raises(ProviderUnavailable, match="no REST API"):
        await world.provider.models()


@pytest.mark.req("F-042")
async def test_a_redirect_is_never_followed(world: Case) -> None:
    async with case() as elsewhere:
        world.studio.redirects = elsewhere.studio.url
        with pytest.raises(ProviderUnavailable):
            await world.provider.models()
        assert not elsewhere.studio.opened
        assert not elsewhere.studio.rest
