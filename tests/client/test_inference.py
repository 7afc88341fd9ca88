"""Chats as jobs, with both clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lanhaven import (
    AsyncClient,
    ChatCompletionRequest,
    ChatMessage,
    Client,
    ConnectionFailed,
    FeatureUnavailable,
    StreamingFailed,
)
from lanhaven.errors import ModelNotFound, NotFound, UpstreamError
from tests.client.both import client
from tests.client.plain import HANG_UP, Answer, plain_server
from tests.serving import serving

pytestmark = pytest.mark.anyio
Kind = type[Client] | type[AsyncClient]
INFER = "/api/v1/ai/lmstudio/infer"
STREAM = "/api/v1/ai/lmstudio/stream/j1"
LONG = ChatCompletionRequest("alpha", [ChatMessage("user", "one two three four five six seven eight nine ten eleven")])
STARTED = Answer({"job_id": "j1", "model": "alpha", "created": 7}, 202)


@pytest.mark.req("S3-21", "S3-x4", "C12")
async def test_a_job_is_started_and_its_events_are_read(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        job = await sdk.run(sdk.plain.inference.start, LONG)
        assert len(job.id) == 36
        assert job.model == "alpha"
        assert job.created > 1_700_000_000
        assert job.id in repr(job)
        *chunks, last = await sdk.every(job.events())
        assert {each.type for each in chunks} == {"chunk"}
        assert all(len(each.content) <= 40 for each in chunks)
        assert last.type == "completed"
        assert last.content == "".join(each.content for each in chunks) == LONG.messages[0].text
        assert last.payload["finish_reason"] == "stop"
        assert last.payload["usage"]["completion_tokens"] == 11
        assert last.id == str(len(chunks) + 1)


@pytest.mark.req("S3-x4", "C12")
async def test_a_job_is_read_on_from_where_one_left_off(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        job = await sdk.run(sdk.plain.inference.start, LONG)
        everything = await sdk.every(job.events())
        same = sdk.plain.inference.job(job.id)
        assert await sdk.every(same.events(after=everything[2].id)) == everything[3:]
        assert await sdk.every(same.events(after=everything[-1].id)) == []
        await sdk.run(same.cancel)
        with pytest.raises(NotFound):
            await sdk.every(same.events())
        with pytest.raises(NotFound):
            await sdk.run(same.cancel)


@pytest.mark.req("S3-21")
async def test_a_job_that_fails_says_so_as_its_last_event(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        script = {"do": "error", "at": 2, "error": "the model lost its thread"}
        request = ChatCompletionRequest("alpha", LONG.messages, extra={"mock": script})
        events = await sdk.every((await sdk.run(sdk.plain.inference.start, request)).events())
        assert [each.type for each in events[:-1]] == ["chunk"] * (len(events) - 1)
        assert events[-1].type == "failed"
        assert "error" in events[-1].payload
        assert events[-1].content == ""
        with pytest.raises(ModelNotFound):
            await sdk.run(sdk.plain.inference.start, ChatCompletionRequest("nobody", LONG.messages))


async def test_a_running_job_can_be_cancelled(tmp_path: Path, kind: Kind) -> None:
    models = "models:\n  - {id: alpha, provider: mock, config: {answer: count, tokens: 9999, interval_ms: 5}}\n"
    async with serving(tmp_path, models) as house, client(kind, house.url) as sdk:
        job = await sdk.run(sdk.plain.inference.start, LONG)
        events = job.events()
        assert (await sdk.step(events)).type == "chunk"
        await sdk.run(job.cancel)
        assert (await sdk.every(events))[-1].type == "failed"
        await house.until(lambda: house.services.gateway.inflight == 0)


def event(number: int, kind: str, **payload: Any) -> bytes:
    data = json.dumps({"job_id": "j1", "type": kind, "payload": payload})
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n".encode()


@pytest.mark.req("S3-x4", "C12", "S3-39")
async def test_a_broken_connection_is_taken_up_where_it_was(kind: Kind) -> None:
    answers = {
        INFER: [STARTED],
        STREAM: [
            Answer(event(1, "chunk", content="a") + event(2, "chunk", content="b"), cut=True),
            HANG_UP,
            Answer(event(3, "chunk", content="c")),
            Answer(event(4, "completed", content="abc")),
        ],
    }
    async with plain_server(answers) as server, client(kind, server.url) as sdk:
        job = await sdk.run(sdk.plain.inference.start, LONG)
        events = await sdk.every(job.events())
        assert [each.content for each in events] == ["a", "b", "c", "abc"]
        assert [each.headers.get("last-event-id") for each in server.asked] == [None, None, "2", "2", "3"]
        assert "stream" not in server.asked[0].body


async def test_a_job_whose_events_never_come_is_given_up(kind: Kind) -> None:
    async with plain_server({STREAM: [Answer(b": nothing\n\n")]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(StreamingFailed, match="before the job did"):
            await sdk.every(sdk.plain.inference.job("j1").events())
        assert len(server.asked) == 3


async def test_a_start_that_may_have_begun_is_not_sent_again(kind: Kind) -> None:
    async with plain_server({INFER: [HANG_UP]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(ConnectionFailed, match="broke off"):
            await sdk.run(sdk.plain.inference.start, LONG)
        assert len(server.asked) == 1


async def test_a_server_without_jobs_says_so(kind: Kind) -> None:
    async with plain_server({}) as server, client(kind, server.url) as sdk:
        with pytest.raises(FeatureUnavailable):
            await sdk.run(sdk.plain.inference.start, LONG)
    async with plain_server({INFER: [Answer([])]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(UpstreamError, match="names no job"):
            await sdk.run(sdk.plain.inference.start, LONG)
