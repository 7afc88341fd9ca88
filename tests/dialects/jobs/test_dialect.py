"""Inference jobs over HTTP: start one, read it, lose it, find it again, end it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.events import Failure, InferenceComplete, InferenceStart
from lanhaven.gateway import SHUTDOWN
from lanhaven.keys.store import KeyStore
from tests.serving import MODELS, House, serving, settings_for

pytestmark = pytest.mark.anyio

INFER = "/api/v1/ai/lmstudio/infer"
STREAM = "/api/v1/ai/lmstudio/stream"
JOBS = "/api/v1/ai/lmstudio/jobs"


@dataclass(frozen=True)
class Event:
    """One event as a reader gets it."""

    id: int
    name: str
    data: dict[str, Any]

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = self.data["payload"]
        return payload


async def start(house: House, text: str = "hello", **fields: Any) -> str:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    reply = await house.http.post(INFER, json=body)
    assert reply.status_code == 202, reply.text
    job_id: str = reply.json()["job_id"]
    return job_id


async def events(house: House, job_id: str, seen: int | None = None) -> AsyncGenerator[Event]:
    headers = {} if seen is None else {"Last-Event-ID": str(seen)}
    async with house.http.stream("GET", f"{STREAM}/{job_id}", headers=headers) as reply:
        assert reply.status_code == 200
        async for each in httpx2.EventSource(reply):
            yield Event(int(each.id), each.event, json.loads(each.data))


async def whole(house: House, job_id: str, seen: int | None = None) -> list[Event]:
    return [each async for each in events(house, job_id, seen)]


def said(found: list[Event]) -> str:
    return "".join(each.payload["content"] for each in found if each.name == "chunk")


@pytest.mark.req("S3-21", "S3-x4")
async def test_a_job_is_started_and_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post(INFER, json={"messages": [{"role": "user", "content": "one two three"}]})
        assert reply.status_code == 202
        assert reply.json().keys() == {"job_id", "model", "created"}
        assert reply.json()["model"] == "alpha"
        job_id = str(UUID(reply.json()["job_id"]))
        found = await whole(house, job_id)
        assert [each.id for each in found] == list(range(1, len(found) + 1))
        assert [each.name for each in found] == ["chunk"] * (len(found) - 1) + ["completed"]
        assert all(each.data["job_id"] == job_id and each.data["type"] == each.name for each in found)
        assert said(found) == found[-1].payload["content"] == "one two three"
        assert found[-1].payload["finish_reason"] == "stop"
        assert found[-1].payload["usage"]["completion_tokens"] == 3


@pytest.mark.req("S3-x4")
async def test_pieces_have_at_most_forty_characters(tmp_path: Path) -> None:
    text = "ä" * 95 + " end"
    async with serving(tmp_path) as house:
        found = await whole(house, await start(house, text))
        pieces = [each.payload["content"] for each in found if each.name == "chunk"]
        assert [len(each) for each in pieces] == [40, 40, 15, 4]
        assert "".join(pieces) == text


@pytest.mark.req("C12")
async def test_a_reader_that_lost_the_line_goes_on_where_it_was(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        job_id = await start(house, mock={"tokens": 40, "interval": 0.01})
        first: list[Event] = []
        async with aclosing(events(house, job_id)) as reading:
            async for each in reading:
                first.append(each)
                if len(first) == 5:
                    break
        rest = await whole(house, job_id, seen=5)
        assert [each.id for each in first + rest] == list(range(1, len(first) + len(rest) + 1))
        assert said(first + rest) == rest[-1].payload["content"] == " ".join(f"tok{number}" for number in range(40))
        assert house.mock.server("alpha").generations == 2  # the chat and the job


@pytest.mark.req("C12")
async def test_several_readers_see_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        job_id = await start(house, mock={"tokens": 20, "interval": 0.01})
        one, other = await asyncio.gather(whole(house, job_id), whole(house, job_id))
        late = await whole(house, job_id)
        assert one == other == late
        assert house.mock.server("alpha").generations == 2


async def test_whoever_has_everything_is_told_not_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        job_id = await start(house)
        last = (await whole(house, job_id))[-1].id
        by_query = await house.http.get(f"{STREAM}/{job_id}", params={"last_event_id": last})
        assert (by_query.status_code, by_query.content) == (204, b"")
        assert "content-length" not in by_query.headers
        assert [each.name for each in await whole(house, job_id, seen=last - 1)] == ["completed"]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 13])
async def test_an_event_id_that_is_none_is_refused(tmp_path: Path, given: str) -> None:
    async with serving(tmp_path) as house:
        job_id = await start(house)
        await whole(house, job_id)
        reply = await house.http.get(f"{STREAM}/{job_id}", headers={"Last-Event-ID": given})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "last_event_id")


@pytest.mark.req("S3-21")
async def test_a_failure_is_the_last_event(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.FIN, at=2))
        found = await whole(house, await start(house, "one two three four"))
        assert [each.name for each in found] == ["chunk", "chunk", "failed"]
        assert found[-1].payload["error"]["code"] == "engine_protocol_error"
        assert len(house.named(Failure)) == 1


async def test_a_load_that_fails_fails_the_job(tmp_path: Path) -> None:
    models = "models:\n  - {id: bad, provider: mock, config: {fail_load: broken}}\n"
    async with serving(tmp_path, models) as house:
        found = await whole(house, await start(house, model="bad"))
        assert [(each.name, each.payload["error"]["code"]) for each in found] == [("failed", "load_failed")]


@pytest.mark.req("S3-x6")
async def test_a_stream_that_never_began_is_asked_for_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.FIN, at=0))
        found = await whole(house, await start(house, "one two"))
        assert [each.name for each in found] == ["chunk", "chunk", "completed"]
        assert len(house.named(InferenceStart)) == 3


@pytest.mark.req("S3-x6")
async def test_who_cannot_stream_is_asked_for_a_whole_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.FIN, at=0), Fault(do=Act.FIN, at=0))
        found = await whole(house, await start(house, "word " * 20))
        assert [each.name for each in found] == ["downgraded", "chunk", "chunk", "chunk", "completed"]
        assert said(found) == found[-1].payload["content"] == ("word " * 20).strip()
        assert found[0].payload["reason"]
        assert house.mock.server("alpha").requests[-1].body["stream"] is False


async def test_a_client_at_fault_is_not_asked_for_twice(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        found = await whole(house, await start(house, "word " * 9000))
        assert [(each.name, each.payload["error"]["code"]) for each in found] == [("failed", "context_length_exceeded")]
        assert len(house.named(InferenceStart)) == 2


async def test_reasoning_and_tools_are_told(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    async with serving(tmp_path) as house:
        found = await whole(house, await start(house, mock={"reasoning": "well then", "text": "yes"}))
        assert "".join(each.payload.get("reasoning_content", "") for each in found[:-1]) == "well then"
        assert (found[-1].payload["content"], found[-1].payload["reasoning_content"]) == ("yes", "well then")
        found = await whole(house, await start(house, "look", tools=tools))
        (call,) = found[-1].payload["tool_calls"]
        assert (call["function"], found[-1].payload["finish_reason"]) == (
            {"name": "look", "arguments": "{}"},
            "tool_calls",
        )


PLAIN = """\
models:
  - id: plain
    provider: openai
    config: {{base_url: "{url}/v1", model: alpha, capabilities: [chat]}}
"""


async def test_tools_are_told_in_words_to_a_model_that_knows_none(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
    (tmp_path / "b").mkdir()
    async with (
        serving(tmp_path / "b") as behind,
        serving(tmp_path, PLAIN.format(url=behind.url)) as house,
    ):
        await behind.chat()
        behind.mock.server("alpha").script(Fault(text='{"tool_calls": [{"name": "add", "arguments": {"a": 1}}]}'))
        last = (await whole(house, await start(house, "2 and 3?", model="plain", tools=tools)))[-1]
        (call,) = last.payload["tool_calls"]
        assert (last.name, last.payload["finish_reason"]) == ("completed", "tool_calls")
        assert call["function"] == {"name": "add", "arguments": '{"a": 1}'}
        assert "tools" not in behind.sent


@pytest.mark.req("C12")
async def test_a_job_can_be_cancelled_and_then_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        job_id = await start(house, mock={"do": "stall", "at": 1})
        async with aclosing(events(house, job_id)) as reading:
            assert (await anext(reading)).name == "chunk"
            reply = await house.http.delete(f"{JOBS}/{job_id}")
            assert reply.json() == {"job_id": job_id, "status": "cancelled"}
            last = await anext(reading)
            assert (last.name, last.payload["error"]["code"]) == ("failed", "job_cancelled")
        await house.mock.server("alpha").until(lambda: house.mock.server("alpha").disconnects == 1)
        assert (await house.http.delete(f"{JOBS}/{job_id}")).json()["status"] == "forgotten"
        assert (await house.http.get(f"{STREAM}/{job_id}")).status_code == 404


async def test_a_body_is_checked_before_a_job_is_made(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        user = [{"role": "user", "content": "x"}]
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"messages": []}, 400, "invalid_request"),
            ({"messages": user, "temperature": "hot"}, 400, "invalid_request"),
            ({"messages": user, "n": 2}, 400, "invalid_request"),
            ({"messages": user, "model": "nobody"}, 404, "model_not_found"),
        ]
        for body, status, code in wrong:
            reply = await house.http.post(INFER, json=body)
            assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
        assert house.named(InferenceStart) == []
        assert (await house.http.get(f"{STREAM}/nothing")).status_code == 404


async def test_a_job_belongs_to_its_key(tmp_path: Path) -> None:
    keys = KeyStore.from_settings(settings_for(tmp_path, {}, MODELS))
    anna, other = ({"X-API-Key": keys.add(name)} for name in ("anna", "other"))
    async with serving(tmp_path) as house:
        body = {"messages": [{"role": "user", "content": "x"}]}
        job_id = (await house.http.post(INFER, json=body, headers=anna)).json()["job_id"]
        assert (await house.http.get(f"{STREAM}/{job_id}", headers=anna)).status_code == 200
        for method, path in (("GET", f"{STREAM}/{job_id}"), ("DELETE", f"{JOBS}/{job_id}")):
            assert (await house.http.request(method, path, headers=other)).status_code == 404
            assert (await house.http.request(method, path)).status_code == 401


@pytest.mark.req("C12")
async def test_the_end_of_the_server_is_told_to_readers(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        house.shutdown.on_abort(lambda: house.services.gateway.abort_all(SHUTDOWN))
        await house.chat()
        job_id = await start(house, mock={"do": "stall", "at": 1})
        async with aclosing(events(house, job_id)) as reading:
            assert (await anext(reading)).name == "chunk"
            house.shutdown.abort()
            last = await anext(reading)
            assert (last.name, last.payload["error"]["code"]) == ("failed", "server_shutdown")
        assert len(house.named(Failure)) == 1


@pytest.mark.req("S3-33")
async def test_a_whole_answer_by_the_proxy_route(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        by_prompt = await house.http.post("/api/v1/ai/generate", json={"prompt": "one two"})
        assert by_prompt.json()["choices"][0]["message"]["content"] == "one two"
        body = {"messages": [{"role": "user", "content": "three"}], "stream": True}
        assert (await house.http.post("/api/v1/ai/generate", json=body)).json()["object"] == "chat.completion"
        empty = await house.http.post("/api/v1/ai/generate", json={})
        assert (empty.status_code, empty.json()["error"]["param"]) == (400, "messages")
        assert len(house.named(InferenceComplete)) == 2


@pytest.mark.req("S3-29", "S3-x2")
async def test_models_are_listed_with_filters(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        route = "/api/v1/ai/lmstudio/models"
        assert [each["id"] for each in (await house.http.get(route)).json()["data"]] == ["alpha", "beta", "gamma"]
        ready = (await house.http.get(route, params={"status": "ready", "owned_by": "mock"})).json()
        assert [each["id"] for each in ready["data"]] == ["alpha"]
        assert (await house.http.get(route, params={"owned_by": "somebody"})).json()["data"] == []
        page = (await house.http.get(route, params={"limit": 2})).json()
        assert ([each["id"] for each in page["data"]], page["next_cursor"]) == (["alpha", "beta"], "beta")
        rest = (await house.http.get(route, params={"limit": 2, "cursor": "beta"})).json()
        assert ([each["id"] for each in rest["data"]], rest["next_cursor"]) == (["gamma"], None)
        for wrong in ({"limit": "0"}, {"limit": "x"}, {"cursor": "nobody"}):
            assert (await house.http.get(route, params=wrong)).status_code == 400
