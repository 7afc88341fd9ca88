"""WebSockets through the door: who may come in, what a connection may hold, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lanhaven.events import Failure
from lanhaven.gateway import SHUTDOWN
from lanhaven.keys.store import FILE_NAME, KeyScope, KeyStore
from lanhaven.server.compose import compose
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import serve
from lanhaven.server.shutdown import Shutdown
from lanhaven.server.sockets import Address
from lanhaven.server.websocket import MAX_FRAGMENTS
from tests.dialects.lmstudio.frames import MODELS, Frames, frames, introduction, unknown
from tests.server.raw import ask, connected, get
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "a-key-that-is-long-enough"
OFFER = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
WHOLE = (*OFFER, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
PREDICT = {
    "modelSpecifier": {"type": "query", "query": {"identifier": "alpha"}},
    "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
    "predictionConfigStack": {"layers": []},
}
LOAD = {"modelKey": "alpha", "loadConfigStack": {"layers": []}}


async def refused(client: Frames, identifier: str = "somebody", passkey: str = "a secret") -> str:
    """The words with which the server lets a client stand outside."""
    await client.send(introduction(identifier, passkey))
    answer = await client.next()
    assert answer["success"] is False
    assert await client.closed() == 1008
    error: str = answer["error"]
    return error


def split(token: str) -> dict[str, str]:
    """As LM Studio's clients send it."""
    identifier, passkey = token.removeprefix("sk-lm-").split(":")
    return {"identifier": identifier, "passkey": passkey}


# ---- who may come in


async def test_a_guest_from_this_machine_may_load_but_not_watch(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, key=KEY) as house, frames(house.url) as client:
        assert (await client.channel("loadModel", LOAD))[-1]["type"] == "success"


@pytest.mark.req("F-141")
async def test_without_guests_a_token_is_needed(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    token = KeyStore(tmp_path / "config" / FILE_NAME).add("phone", {KeyScope.INFERENCE}, lmstudio=True)
    async with serving(tmp_path, MODELS, lmstudio_guests=()) as house:
        async with unknown(house.url) as client:
            assert "lanhaven keys add --lmstudio" in await refused(client)
        async with frames(house.url, **split(token)) as client:
            assert await client.result("listLoaded") == []
            assert "admin" in (await client.channel("loadModel", LOAD))[0]["error"]["title"]
            jit = await client.channel("getOrLoad", {"identifier": "alpha", "loadConfigStack": {"layers": []}})
            assert jit[-1]["type"] == "loadSuccess"
        reply = await house.http.get("/v1/models", headers={"X-API-Key": token})
        assert reply.status_code == 200


async def test_a_wrong_token_is_no_guest(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, key=KEY) as house, unknown(house.url) as client:
        assert (await refused(client, "abcdefgh", "x" * 20)).startswith("Unauthorized")


async def test_what_came_through_a_proxy_that_is_not_trusted_is_no_guest(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    async with serving(tmp_path, MODELS, key=KEY) as house, unknown(house.url, additional_headers=forwarded) as client:
        assert (await refused(client)).startswith("Unauthorized")


async def test_a_key_in_the_header_counts_where_the_client_has_no_token(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, MODELS, key=KEY, lmstudio_guests=()) as house,
        unknown(house.url, additional_headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        await client.send(introduction())
        assert await client.next() == {"success": True}


@pytest.mark.req("F-105", "F-151")
async def test_foreign_hosts_and_pages_get_no_socket(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, cors_origins=("*",)) as house:
        for headers in (["Origin: https://evil.example"], ["Origin: null"]):
            assert (await ask(house.url, get("/llm", *WHOLE, *headers))).status == 403
        assert (await ask(house.url, get("/llm", *WHOLE, host="evil.example"))).status == 403
        assert (await ask(house.url, get("/nowhere", *WHOLE))).status == 403
        async with unknown(house.url, origin=house.url) as client:
            await client.send(introduction())
            assert await client.next() == {"success": True}


# ---- what is an offer


async def test_a_broken_offer_is_answered_and_the_server_lives_on(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        for headers, status in (
            (OFFER, 404),  # no key: no offer
            ((*OFFER, "Sec-WebSocket-Key: short"), 400),
            (("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 7", WHOLE[-1]), 426),
            ((*WHOLE, "Origin: https://a.example", "X-Long: " + "x" * 9000), 431),
        ):
            assert (await ask(house.url, get("/llm", *headers))).status in (status, 400), headers
        async with connected(house.url) as raw:
            await raw.send(get("/llm", *WHOLE) + b"\x81\x80impatient")
            assert (await raw.reply()).status == 400
        async with frames(house.url) as client:
            assert await client.result("listLoaded") == []


# ---- what a connection may hold


async def test_messages_beyond_the_body_limit_and_heaps_of_fragments_end_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, max_body_bytes=10_000) as house:
        async with frames(house.url) as client:
            await client.socket.send("x" * 10_001)
            assert await client.closed() == 1009
        async with frames(house.url) as client:
            with suppress(ConnectionClosed):
                await client.socket.send("" for _ in range(MAX_FRAGMENTS + 2))
            await client.socket.wait_closed()


@pytest.mark.req("F-083")
async def test_a_client_that_reads_nothing_is_let_go(tmp_path: Path) -> None:
    limits = replace(ListenerLimits(), write_stall=0.3, socket_ping=3600.0)
    async with serving(tmp_path, MODELS, limits=limits) as house, frames(house.url, "system") as client:
        underlying = client.socket.transport.get_extra_info("socket")
        underlying.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.transport.pause_reading()
        call = '{"type":"rpcCall","endpoint":"listDownloadedModels","callId":%d}'
        sending = asyncio.create_task(pour(client, call))
        async with asyncio.timeout(60):
            await client.socket.wait_closed()
        with pytest.raises(ConnectionClosed):
            await sending


async def pour(client: Frames, text: str) -> None:
    for number in itertools.count():
        await client.socket.send(text % number)
        if number % 100 == 0:
            await asyncio.sleep(0)


async def test_no_frame_is_logged_whatever_the_level(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("uvicorn.error", "lanhaven.listener", "websockets.server"):
            caplog.set_level(logging.DEBUG, name)
        async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
            await client.error("a prompt of somebody")
            await client.socket.send(b"\xffprompt of somebody", text=True)
            assert await client.closed() == 1007
    ours = [each for each in caplog.records if not each.name.startswith("websockets.client")]
    assert "prompt of somebody" not in "\n".join(each.getMessage() for each in ours)


async def test_a_peer_that_answers_no_ping_is_let_go(tmp_path: Path) -> None:
    limits = replace(ListenerLimits(), write_stall=0.2, socket_ping=0.1)
    async with serving(tmp_path, MODELS, limits=limits) as house, connected(house.url) as raw:
        await raw.send(get("/llm", *WHOLE))
        assert (await raw.reply(head=True)).status == 101
        assert b"keepalive ping timeout" in await raw.ended()


# ---- going down


class Door:
    """A second listener before the same server, which can be stopped while the test goes on."""

    def __init__(self, shutdown: Shutdown, task: asyncio.Task[None], url: str) -> None:
        self.shutdown = shutdown
        self.task = task
        self.url = url

    async def ended(self) -> None:
        async with asyncio.timeout(60):
            await self.task


@asynccontextmanager
async def door(house: House, **limits: Any) -> AsyncIterator[Door]:
    shutdown = Shutdown()
    bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    app = compose(house.services, KeyStore.from_settings(house.services.settings))
    shutdown.on_abort(lambda: house.services.gateway.abort_all(SHUTDOWN))
    serving_task = asyncio.create_task(
        serve(
            app,
            [Address("127.0.0.1", 0)],
            replace(ListenerLimits(), **limits),
            on_ready=lambda where: bound.set_result(where[0].url),
            shutdown=shutdown,
        )
    )
    try:
        yield Door(shutdown, serving_task, await bound)
    finally:
        shutdown.begin("the test is over")
        shutdown.hurry()
        await serving_task


async def answered(client: Frames, endpoint: str) -> dict[str, Any]:
    """The answer of a call, whatever comes in between."""
    await client.send({"type": "rpcCall", "endpoint": endpoint, "callId": 1000})
    while "callId" not in (frame := await client.next()):
        pass
    return frame


async def test_an_idle_socket_is_closed_as_soon_as_the_server_goes_down(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, door(house, drain_timeout=600) as way, frames(way.url) as client:
        way.shutdown.begin("the test says so")
        assert await client.closed() == 1012
        await way.ended()


async def test_nobody_waits_for_channels_that_never_end(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, MODELS) as house,
        door(house, drain_timeout=600) as way,
        frames(way.url, "system") as system,
        frames(way.url, "diagnostics") as diagnostics,
    ):
        await system.open("alive")
        await system.call("version")
        await diagnostics.open("streamLogs")
        await answered(diagnostics, "nothing")
        way.shutdown.begin("the test says so")
        assert await system.rest() == []
        assert await diagnostics.rest() == []
        assert [await system.closed(), await diagnostics.closed()] == [1012, 1012]
        await way.ended()


async def test_what_runs_may_finish_while_the_server_drains(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, door(house, drain_timeout=600) as way, frames(way.url) as client:
        with house.mock.held("alpha"):
            await client.open("loadModel", LOAD)
            assert (await client.packet())["type"] == "resolved"
            way.shutdown.begin("the test says so")
            async with asyncio.timeout(60):
                while (refusal := await answered(client, "listLoaded"))["type"] != "rpcError":
                    pass
            assert "going down" in refusal["error"]["title"]
        assert (await client.rest())[-1]["type"] == "success"
        assert await client.closed() == 1012
        await way.ended()


async def test_what_still_runs_after_the_drain_fails_first(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, door(house, drain_timeout=0.1) as way, frames(way.url) as client:
        with house.mock.held("alpha"):
            await client.open("loadModel", LOAD)
            assert (await client.packet())["type"] == "resolved"
            way.shutdown.begin("the test says so")
            assert "going down" in (await client.rest())[-1]["error"]["title"]
            assert await client.closed() == 1012
            await way.ended()


async def test_a_prediction_that_still_runs_after_the_drain_fails_first_too(tmp_path: Path) -> None:
    endless = MODELS.replace("aliases: [first]", "config: {answer: count, tokens: 100000, interval_ms: 5}")
    async with serving(tmp_path, endless) as house, door(house, drain_timeout=0.1) as way, frames(way.url) as client:
        await client.channel("loadModel", LOAD)
        await client.open("predict", PREDICT)
        while (await client.packet())["type"] != "fragment":
            pass
        way.shutdown.begin("the test says so")
        assert "going down" in (await client.rest())[-1]["error"]["title"]
        assert await client.closed() == 1012
        await way.ended()


async def test_a_prediction_ends_with_its_connection(tmp_path: Path) -> None:
    endless = MODELS.replace("aliases: [first]", "config: {answer: count, tokens: 100000, interval_ms: 5}")
    async with serving(tmp_path, endless) as house:
        async with frames(house.url) as client:
            await client.channel("loadModel", LOAD)
            await client.open("predict", PREDICT)
            while (await client.packet())["type"] != "fragment":
                pass
        await house.until(lambda: house.services.gateway.inflight == 0)
        assert house.named(Failure)[-1].cancelled


async def test_new_sockets_are_refused_while_the_server_drains(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        house.shutdown.begin("the test says so")
        with pytest.raises(InvalidStatus):
            async with unknown(house.url):
                pass
