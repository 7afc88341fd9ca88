"""The lmstudio provider and its connections: when they are made, how they break, who we are, how LM Studio does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanhaven.errors import ProviderUnavailable
from lanhaven.providers.hosts.upstream import upstream_at
from lanhaven.providers.lmstudio.config import read_hosts
from lanhaven.providers.lmstudio.provider import LMStudioProvider
from lanhaven.types.models import LoadConfig
from tests.lmstudio.studio import CHAT, EMBEDDING, Studio
from tests.providers.lmstudio.case import NOT_REACHED, Case, Observer, case, provider

PEM = Path(__file__).parents[2] / "upstream" / "localhost.pem"
pytestmark = pytest.mark.anyio


@pytest.fixture
async def world() -> AsyncIterator[Case]:
    async with case(answer_timeout=0.5) as made:
        yield made


# Connections


@pytest.mark.req("S1-08")
async def test_nothing_is_connected_before_it_is_needed(world: Case) -> None:
    world.entry("some-model")
    assert not world.studio.opened
    await world.provider.models()
    assert world.studio.opened == {"system": 1}


async def test_without_a_configured_lm_studio_nothing_happens() -> None:
    made = provider(default_base_url="http://127.0.0.1:9")
    assert (await made.models(), await made.instances()) == ((), [])
    health = await made.health()
    assert (health.ok, health.detail) == (False, "not configured")
    await made.unload("x")
    await made.aclose()


@pytest.mark.req("S1-35", "S1-07", "S1-01")
async def test_one_connection_for_each_namespace_serves_everything(world: Case) -> None:
    for name in ("a", "b"):
        await world.load(CHAT, name)
        await world.load(EMBEDDING, f"{name}-embedding")
    await world.running()
    await world.provider.health()
    assert world.studio.opened == {"system": 1, "llm": 1, "embedding": 1}


async def test_all_who_come_at_once_share_the_attempt(world: Case) -> None:
    await asyncio.gather(*(world.provider.models() for _ in range(10)))
    assert world.studio.opened == {"system": 1}


@pytest.mark.req("S1-10", "F-020")
async def test_a_connection_that_broke_is_made_anew(world: Case) -> None:
    await world.provider.models()
    await world.studio.kill()
    with pytest.raises(ProviderUnavailable):
        await world.provider.models()
    await world.studio.start()
    assert len(await world.provider.models()) == 3
    assert world.studio.opened == {"system": 2}


@pytest.mark.req("S1-10")
async def test_a_connection_that_does_not_answer_is_looked_at_before_it_is_used_again(world: Case) -> None:
    await world.provider.models()
    world.studio.mute.add("listDownloadedModels")
    with pytest.raises(ProviderUnavailable, match=r"did not answer within 0\.5 s, while listing its models"):
        await world.provider.models()
    world.studio.mute.clear()
    assert len(await world.provider.models()) == 3
    assert world.studio.opened == {"system": 1}, "it answered the ping"


@pytest.mark.req("S1-10")
async def test_a_connection_that_is_silent_even_to_a_ping_is_made_anew(
    world: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanhaven.providers.lmstudio.link.PING_SECONDS", 0.2)
    world.studio.stalls.add("listDownloadedModels")
    with pytest.raises(ProviderUnavailable):
        await world.provider.models()
    assert len(await world.provider.models()) == 3
    assert world.studio.opened == {"system": 2}


@pytest.mark.req("S1-09", "S1-25", "S0-76", "C4", "F-020")
async def test_three_attempts_two_seconds_apart_then_the_known_words(world: Case) -> None:
    await world.provider.models()
    await world.studio.kill()
    with pytest.raises(ProviderUnavailable) as caught:
        await world.load()
    assert (caught.value.message, caught.value.status) == (NOT_REACHED, 503)
    with pytest.raises(ProviderUnavailable) as caught:
        await world.provider.load(world.entry(CHAT), CHAT, LoadConfig(), Observer())
    assert caught.value.message == NOT_REACHED
    assert "is not running" in (caught.value.hint or "")
    assert world.pauses.taken == [2.0, 2.0]


@pytest.mark.req("C4")
async def test_the_number_of_attempts_is_the_settings() -> None:
    async with case(attempts=5, retry_delay=0.5) as world:
        await world.studio.kill()
        with pytest.raises(ProviderUnavailable, match="after 5 attempts"):
            await world.provider.load(world.entry(CHAT), CHAT, LoadConfig(), Observer())
        assert world.pauses.taken == [0.5] * 4


@pytest.mark.req("S1-09")
async def test_it_may_come_up_between_two_attempts(world: Case) -> None:
    await world.studio.kill()
    world.pauses.then = world.studio.start
    loaded = await world.provider.load(world.entry(CHAT), CHAT, LoadConfig(), Observer())
    assert (loaded.upstream.model, world.pauses.taken) == (CHAT, [2.0])


@pytest.mark.parametrize("said", ["no json", "[]", "3", b"\x00\x01", '{"type": "rpcResult", "callId": '])
async def test_garbage_ends_the_connection_and_the_next_use_makes_a_new_one(world: Case, said: str | bytes) -> None:
    world.studio.garbage["listDownloadedModels"] = said
    with pytest.raises(ProviderUnavailable, match="not LM Studio's protocol"):
        await world.provider.models()
    assert len(await world.provider.models()) == 3
    assert world.studio.opened == {"system": 2}


@pytest.mark.parametrize("greeting", [None, "no json", "{}", '{"success": "yes"}', b"\x00", "[true]"])
async def test_whoever_does_not_greet_as_lm_studio_does_is_none(world: Case, greeting: str | bytes | None) -> None:
    world.studio.greeting = greeting
    with pytest.raises(ProviderUnavailable) as caught:
        await world.provider.models()
    assert "closed the connection" in str(caught.value.hint) or "not LM Studio's protocol" in str(caught.value.hint)
    world.studio.greeting = '{"success": true}'
    assert len(await world.provider.models()) == 3


async def test_a_load_that_floods_us_is_given_up(world: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanhaven.providers.lmstudio.socket.MOST_WAITING", 10)
    world.studio.before_answer = ('{"type": "channelSend", "channelId": 1, "message": {"type": "progress"}}',) * 2000
    with pytest.raises(ProviderUnavailable, match="sent more than was read"):
        await world.load()


async def test_all_that_waits_on_a_broken_connection_fails_once(world: Case) -> None:
    await world.provider.models()
    world.studio.mute.add("listDownloadedModels")
    waiting = [asyncio.create_task(world.provider.models()) for _ in range(5)]
    await world.studio.called("listDownloadedModels", 6)
    world.studio.hang_up()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in failures] == [ProviderUnavailable] * 5
    assert all("closed the connection" in str(each) for each in failures)


async def test_frames_of_unknown_kinds_and_ids_are_passed_over(world: Case) -> None:
    world.studio.before_answer = (
        '{"type": "keepAliveAck"}',
        '{"type": "communicationWarning", "warning": "x"}',
        '{"type": "rpcResult", "callId": 999, "result": []}',
        '{"type": "rpcResult", "callId": "1", "result": []}',
        '{"type": "channelSend", "channelId": 77, "message": {"type": "progress"}}',
        '{"type": "channelSend", "channelId": 1, "message": 5}',
        '{"type": "newer than us", "callId": []}',
        "{}",
    )
    assert len(await world.provider.models()) == 3
    assert (await world.load()).upstream.model == CHAT


@pytest.mark.req("C28")
async def test_over_tls_the_certificate_must_be_known() -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(PEM)
    trusting = ssl.create_default_context(cafile=PEM)
    async with Studio(tls=serving) as studio:
        hosts = read_hosts({"base_url": f"https://localhost:{studio.port}"})
        strange, known = LMStudioProvider(hosts), LMStudioProvider(hosts, tls=trusting)
        with pytest.raises(ProviderUnavailable) as caught:
            await strange.models()
        assert "certificate" in (caught.value.hint or "")
        assert len(await known.models()) == 3
        for each in (strange, known):
            await each.aclose()


# Who we are


async def test_without_a_token_we_are_a_guest_with_one_name_for_all_connections(world: Case) -> None:
    await world.provider.models()
    await world.running()
    first = [frame for _, frame in world.studio.seen if "authVersion" in frame]
    names = {frame["clientIdentifier"] for frame in first}
    assert len(first) == 3
    assert len(names) == 1
    assert names.pop().startswith("guest:")


@pytest.mark.req("C28")
async def test_a_token_is_split_for_the_socket_and_whole_for_http() -> None:
    token = "sk-lm-abcdefgh:01234567890123456789"
    async with case(api_token=token) as world:
        world.studio.token = ("abcdefgh", "01234567890123456789")
        loaded = await world.load()
        assert loaded.upstream.headers == (("authorization", f"Bearer {token}"),)
        assert token not in repr(world.provider) + repr(loaded)


# Health


@pytest.mark.req("S1-34", "S1-44")
async def test_health_tells_version_latency_and_models(world: Case) -> None:
    await world.provider.models()
    health = await world.provider.health()
    assert (health.ok, health.kind, health.version, health.models) == (True, "server", "0.4.7", 3)
    assert health.detail == "lmstudio 0.4.7, 3 models"
    assert health.latency_ms is not None
    assert health.address == world.studio.url
    assert world.studio.url not in health.detail


@pytest.mark.req("S1-34")
async def test_health_of_one_that_is_down_or_silent(world: Case) -> None:
    world.studio.mute.add("version")
    health = await world.provider.health()
    assert (health.ok, health.detail) == (False, "lmstudio does not answer")
    await world.studio.kill()
    health = await world.provider.health()
    assert (health.ok, health.detail, health.latency_ms) == (False, "lmstudio is not running", None)


# Addresses


@pytest.mark.req("S1-12", "S1-33", "C28")
@pytest.mark.parametrize(
    ("base_url", "ws_url", "upstream"),
    [
        ("http://127.0.0.1:1234", "ws://127.0.0.1:1234", ("http://127.0.0.1:1234", "")),
        ("http://127.0.0.1:9999/v1/", "ws://127.0.0.1:9999", ("http://127.0.0.1:9999", "")),
        ("https://studio.lan", "wss://studio.lan", ("https://studio.lan", "")),
        ("https://lan/studio", "wss://lan/studio", ("https://lan", "/studio")),
    ],
)
async def test_addresses(base_url: str, ws_url: str, upstream: tuple[str, str]) -> None:
    host = read_hosts({"base_url": base_url}).named(None)
    assert host.ws_url == ws_url
    made = upstream_at(host.base_url, host.headers, "x")
    assert (made.base_url, made.prefix) == upstream
