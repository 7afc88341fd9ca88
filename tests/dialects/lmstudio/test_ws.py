"""LM Studio's WebSocket protocol, frame by frame: what its documents say, and what its clients were seen to fall over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lanhaven.dialects.lmstudio.ws.auth import introduced
from lanhaven.dialects.lmstudio.ws.connection import MOST_RUNNING, MOST_WARNINGS, Connection
from lanhaven.dialects.lmstudio.ws.endpoint import Channel, Namespace, Peer, Shared
from lanhaven.dialects.lmstudio.ws.sockets import NAMESPACES
from lanhaven.dialects.lmstudio.ws.wire import Message, Wire
from tests.dialects.lmstudio.frames import MODELS, frames, introduction, unknown
from tests.serving import serving

pytestmark = pytest.mark.anyio

BY_NAME = {"specifier": {"type": "query", "query": {"identifier": "alpha"}}}


# ---- coming in


async def test_who_never_says_who_it_is_is_waited_for_no_longer_than_that() -> None:
    async def nothing() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("it says nothing")

    async def unheard(message: Message) -> None:
        raise AssertionError("nothing is to be said")

    assert await introduced(Wire(nothing, unheard), patience=0.01) is None


async def test_unreadable_frames_before_the_introduction_are_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, unknown(house.url) as client:
        for said in ("no JSON", "[]", '{"authVersion": 2}', json.dumps(introduction("x" * 257))):
            await client.socket.send(said)
        await client.send(introduction())
        assert await client.next() == {"success": True}
        assert await client.result("listLoaded") == []


async def test_an_identifier_belongs_to_its_first_passkey_until_its_last_connection_closes(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        async with frames(house.url, "llm", identifier="me", passkey="one"), unknown(house.url, "system") as other:
            await other.send(introduction("me", "two"))
            refused = await other.next()
            assert refused == {
                "success": False,
                "error": 'Failed to validate client: Invalid client passkey for client "me"',
            }
            assert await other.closed() == 1008
            async with frames(house.url, "system", identifier="me", passkey="one"):
                pass
        async with frames(house.url, "llm", identifier="me", passkey="two"):
            pass


# ---- calls and channels


async def test_a_void_call_has_no_result_at_all(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        await client.channel("loadModel", {"modelKey": "alpha", "loadConfigStack": {"layers": []}})
        assert await client.call("unloadModel", {"identifier": "alpha"}) == {"type": "rpcResult", "callId": 1}
        assert await client.call("getModelInfo", {**BY_NAME, "throwIfNotFound": False}) == {
            "type": "rpcResult",
            "callId": 2,
        }


async def test_an_unknown_endpoint_is_a_warning_and_an_error_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        error = await client.error("nothingOfTheKind")
        assert "nothingOfTheKind" in error["title"]
        assert [each["kind"] for each in client.warnings] == ["rpcEndpointUnknown"]
        assert "error" in (await client.channel("alsoNothing"))[0]
        for number in range(MOST_WARNINGS):
            await client.error(f"nothing{number}")
        assert len(client.warnings) == MOST_WARNINGS


@pytest.mark.parametrize("namespace", sorted(each.name for each in NAMESPACES))
async def test_every_namespace_answers_what_it_does_not_know(tmp_path: Path, namespace: str) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, namespace) as client:
        assert namespace in (await client.error("nothingOfTheKind"))["title"]


@pytest.mark.parametrize(
    ("endpoint", "parameter"),
    [
        ("getModelInfo", None),
        ("getModelInfo", {"specifier": 7}),
        ("getModelInfo", {"specifier": {"type": "query"}}),
        ("getModelInfo", {**BY_NAME, "throwIfNotFound": "no"}),
        ("unloadModel", {"identifier": 7}),
        ("unloadModel", []),
        ("estimateModelUsage", {"modelKey": "alpha", "loadConfigStack": {"layers": [7]}}),
    ],
)
async def test_a_wrong_parameter_is_an_error_at_once(tmp_path: Path, endpoint: str, parameter: Any) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        assert (await client.error(endpoint, parameter))["title"]
        assert [each["kind"] for each in client.warnings] == ["rpcParameterTypeError"]


async def test_calls_and_channels_are_keyed_apart_and_ids_begin_at_zero(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        await client.send({"type": "channelCreate", "endpoint": "alive", "channelId": 0})
        await client.send({"type": "rpcCall", "endpoint": "version", "callId": 0})
        assert (await client.next())["callId"] == 0
        await client.send({"type": "channelSend", "channelId": 0, "message": {"type": "stop"}})
        assert await client.next() == {"type": "channelClose", "channelId": 0}


async def test_keep_alive_is_acknowledged_on_request_only_and_acks_are_sent(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        await client.send({"type": "keepAlive"})
        assert await client.next() == {"type": "keepAliveAck"}
        await client.send({"type": "channelSend", "channelId": 9, "message": {"type": "cancel"}, "ackId": 4})
        assert await client.next() == {"type": "channelAck", "channelId": 9, "ackId": 4}
        await client.send({"type": "signalSubscribe", "endpoint": "s", "subscribeId": 2})
        assert (await client.next())["type"] == "signalError"
        await client.send({"type": "writableSignalSubscribe", "endpoint": "s", "subscribeId": 3})
        assert (await client.next())["type"] == "writableSignalError"
        await client.send({"type": "communicationWarning", "warning": "hm"})
        assert (await client.call("version"))["callId"] == 0  # and nothing in between


async def test_what_is_no_frame_is_told_and_harms_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        for said in ("{", b"\x00\x01", '{"type": "rpcCall"}', "[" * 500):
            await client.socket.send(said)
        assert await client.result("getExperimentFlags") == []
        assert len(client.warnings) == 4


async def test_what_a_client_chats_in_a_channel_is_kept_nowhere(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        number = await client.open("alive")
        for said in ({"type": "chatter"}, None, "cancel"):
            await client.send({"type": "channelSend", "channelId": number, "message": said})
        assert (await client.call("version"))["type"] == "rpcResult"
        await client.send({"type": "channelSend", "channelId": number, "message": {"type": "cancel"}})
        assert await client.rest() == []


async def test_a_defect_is_an_error_without_its_insides(tmp_path: Path) -> None:
    async def broken(peer: Peer, parameter: Any) -> None:
        raise ValueError("a secret of the inside")

    async def broken_channel(peer: Peer, channel: Channel, parameter: Any) -> None:
        raise ValueError("a secret of the inside")

    said = iter(
        (
            {"type": "rpcCall", "endpoint": "broken", "callId": 1},
            {"type": "channelCreate", "endpoint": "broken", "channelId": 1},
        )
    )
    answers: list[dict[str, Any]] = []
    answered = asyncio.Event()

    async def receive() -> Message:
        for frame in said:
            return {"type": "websocket.receive", "text": json.dumps(frame)}
        await answered.wait()
        return {"type": "websocket.disconnect"}

    async def send(message: Message) -> None:
        answers.append(json.loads(message["text"]))
        if len(answers) == 2:
            answered.set()

    namespace = Namespace("llm", {"broken": broken}, {"broken": broken_channel})
    async with serving(tmp_path, MODELS) as house:
        context = house.services.dialect_context
        peer = Peer(context, Shared(context), "llm", "me", "conn-1")
        await Connection(namespace, peer, Wire(receive, send)).run()
    assert {each["type"] for each in answers} == {"rpcError", "channelError"}
    assert "secret" not in str(answers)
    assert "conn-1" in str(answers)


async def test_calls_of_one_connection_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        for _ in range(MOST_RUNNING):
            await client.open("alive")
        number = await client.open("alive")
        refused = await client.next()
        assert (refused["type"], refused["channelId"]) == ("channelError", number)


async def test_a_number_that_is_in_use_is_not_taken_twice(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        for _ in range(2):
            await client.send({"type": "channelCreate", "endpoint": "alive", "channelId": 5})
        await client.call("version")
        assert len(client.warnings) == 1
        await client.send({"type": "channelSend", "channelId": 5, "message": {"type": "cancel"}})
        assert (await client.next())["type"] == "channelClose"


# ---- going


@pytest.mark.req("F-081")
async def test_the_end_of_a_connection_ends_all_that_ran_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        with house.mock.held("alpha"):
            async with frames(house.url) as client:
                await client.open("loadModel", {"modelKey": "alpha", "loadConfigStack": {"layers": []}})
                await client.packet()
                await house.until(lambda: house.mock.loads["alpha"] == 1)
            await house.until(lambda: not house.services.pool.ids())


# ---- the documents


def test_every_endpoint_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/lmstudio-websocket.md").read_text()
    names = {name for each in NAMESPACES for name in (*each.rpcs, *each.channels)}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
    assert sorted(each.name for each in NAMESPACES if f"`/{each.name}`" not in page) == []
