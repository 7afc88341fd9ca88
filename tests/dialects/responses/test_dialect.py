"""/v1/responses on a real socket, over the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
import zstandard

from lanhaven.dialects.responses.kept import Shelf
from lanhaven.engines.scripted_faults import Act, Fault
from lanhaven.errors import PayloadTooLarge
from lanhaven.events import Failure, InferenceComplete
from lanhaven.keys.store import KeyStore
from lanhaven.store import StoreLimits
from tests.serving import MODELS, House, serving, settings_for

pytestmark = pytest.mark.anyio

ADD: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object"}}


async def ask(house: House, given: Any = "hello", path: str = "/v1/responses", **fields: Any) -> httpx2.Response:
    return await house.http.post(path, json={"model": "alpha", "input": given, **fields})


def events(text: str) -> list[dict[str, Any]]:
    told = []
    for frame in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        if lines:
            told.append(json.loads(lines["data"]))
            assert told[-1]["type"] == lines["event"]
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    return told


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
async def test_a_whole_response(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as house:
        response = (await ask(house, path=path)).json()
        assert (response["object"], response["status"], response["model"]) == ("response", "completed", "alpha")
        assert text_of(response) == "hello"
        assert response["usage"]["output_tokens"] > 0
        assert house.sent["stream"] is False
        assert house.named(InferenceComplete)[0].dialect == "responses"


async def test_a_stream_and_a_whole_response_say_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        streamed = events((await ask(house, "a b c", stream=True)).text)
        pieces = [each["delta"] for each in streamed if each["type"] == "response.output_text.delta"]
        assert "".join(pieces) == text_of(streamed[-1]["response"]) == text_of((await ask(house, "a b c")).json())
        assert [streamed[0]["type"], streamed[-1]["type"]] == ["response.created", "response.completed"]


async def test_without_a_model_the_default_one_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/v1/responses", json={"input": "hello"})
        assert reply.json()["model"] == "alpha"


async def test_codex_loads_a_model_with_an_empty_input(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await ask(house, "", model="beta", max_output_tokens=1)
        assert reply.status_code == 200
        assert "beta" in house.services.pool.ids()


async def test_a_tool_is_called(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(tool="add", arguments={"a": 1}))
        response = (await ask(house, tools=[ADD], tool_choice="required")).json()
        [call] = response["output"]
        assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function_call", "add", {"a": 1})
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "2"}
        await ask(house, [output], previous_response_id=response["id"])
        assert [each["role"] for each in house.sent["messages"]] == ["user", "assistant", "tool"]
        assert house.sent["messages"][1]["tool_calls"][0]["id"] == call["call_id"]


async def test_tools_that_run_at_openai_are_left_out_and_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await ask(house, tools=[ADD, {"type": "web_search"}])
        assert reply.headers["x-lanhaven-left-out"] == "tools[1] web_search"
        assert reply.json()["tools"] == [ADD]
        alone = await ask(house, tools=[{"type": "web_search"}])
        assert (alone.status_code, alone.json()["error"]["param"]) == (501, "tools")


async def test_a_conversation_goes_on_without_the_earlier_instructions(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        first = (await ask(house, "one", instructions="be brief")).json()
        second = (await ask(house, "two", previous_response_id=first["id"])).json()
        third = await ask(house, "three", previous_response_id=second["id"], instructions="be kind")
        assert third.json()["previous_response_id"] == second["id"]
        assert [(each["role"], each["content"]) for each in house.sent["messages"]] == [
            ("system", "be kind"),
            ("user", "one"),
            ("assistant", "one"),
            ("user", "two"),
            ("assistant", "two"),
            ("user", "three"),
        ]


async def test_a_kept_response_is_read_and_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        response = (await ask(house)).json()
        path = f"/v1/responses/{response['id']}"
        assert (await house.http.get(path)).json() == response
        assert (await house.http.get(path, params={"stream": "true"})).status_code == 501
        assert (await house.http.delete(path)).json() == {"id": response["id"], "object": "response", "deleted": True}
        for gone in (await house.http.get(path), await house.http.delete(path)):
            assert gone.status_code == 404
            assert response["id"] in gone.json()["error"]["message"]
        reply = await ask(house, previous_response_id=response["id"])
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_stream_is_kept_when_its_last_event_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        last = events((await ask(house, stream=True)).text)[-1]["response"]
        assert (await house.http.get(f"/v1/responses/{last['id']}")).json() == last


async def test_what_is_not_to_be_kept_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        response = (await ask(house, store=False)).json()
        assert response["store"] is False
        assert (await house.http.get(f"/v1/responses/{response['id']}")).status_code == 404


async def test_a_response_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        house.services.store._limits = StoreLimits(max_body=10)
        response = (await ask(house)).json()
        assert (response["status"], response["store"]) == ("completed", False)
        assert (await house.http.get(f"/v1/responses/{response['id']}")).status_code == 404


async def test_input_items_in_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        first = (await ask(house, "one")).json()
        path = f"/v1/responses/{(await ask(house, 'two', previous_response_id=first['id'])).json()['id']}/input_items"
        listed = (await house.http.get(path, params={"order": "asc"})).json()
        assert [each["content"][0]["text"] for each in listed["data"]] == ["one", "one", "two"]
        assert (listed["object"], listed["has_more"]) == ("list", False)
        assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][2]["id"])
        newest = (await house.http.get(path, params={"limit": 1})).json()
        assert (newest["data"], newest["has_more"]) == (listed["data"][2:], True)
        rest = (await house.http.get(path, params={"after": newest["last_id"]})).json()
        assert rest["data"] == listed["data"][1::-1]
        for wrong in ({"limit": "0"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_0"}):
            assert (await house.http.get(path, params=wrong)).status_code == 400


async def test_only_a_response_in_the_background_can_be_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        name = (await ask(house)).json()["id"]
        reply = await house.http.post(f"/v1/responses/{name}/cancel", json={})
        assert (reply.status_code, reply.json()["error"]["message"]) == (400, "Cannot cancel a synchronous response.")
        assert (await house.http.post("/v1/responses/resp_0/cancel", json={})).status_code == 404
        assert (await ask(house, background=True)).status_code == 501


async def test_a_response_belongs_to_its_key(tmp_path: Path) -> None:
    keys = KeyStore.from_settings(settings_for(tmp_path, {}, MODELS))
    anna, other = ({"X-API-Key": keys.add(name)} for name in ("anna", "other"))
    async with serving(tmp_path) as house:
        body = {"model": "alpha", "input": "hello"}
        name = (await house.http.post("/v1/responses", json=body, headers=anna)).json()["id"]
        path = f"/v1/responses/{name}"
        for method, at in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
            reply = await house.http.request(method, path + at, headers=other)
            absent = await house.http.request(method, f"/v1/responses/resp_0{at}", headers=other)
            assert (reply.status_code, reply.text.replace(name, "resp_0")) == (404, absent.text)
        body["previous_response_id"] = name
        assert (await house.http.post("/v1/responses", json=body, headers=other)).status_code == 400
        assert (await house.http.post("/v1/responses", json=body, headers=anna)).status_code == 200
        assert (await house.http.get(path, headers=anna)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "resp_0/nothing"), ("POST", "resp_0"), ("POST", "compact"), ("DELETE", "resp_0/x")],
)
async def test_paths_that_are_not_there(tmp_path: Path, method: str, path: str) -> None:
    async with serving(tmp_path) as house:
        assert (await house.http.request(method, f"/v1/responses/{path}")).status_code == 404


async def test_tokens_are_counted_by_the_engine(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await ask(house, "one two three", "/v1/responses/input_tokens")
        assert reply.json() == {"object": "response.input_tokens", "input_tokens": 3}
        first = (await ask(house, "one two")).json()
        reply = await ask(house, "five", "/v1/responses/input_tokens", previous_response_id=first["id"])
        assert reply.json()["input_tokens"] == 5


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "nobody"}, 404, "model_not_found", None),
        ({"input": 5}, 400, "invalid_request", "input"),
        ({"previous_response_id": "resp_0"}, 400, "previous_response_not_found", "previous_response_id"),
        ({"conversation": "c"}, 501, "capability_unavailable", "conversation"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_errors_in_openais_words(
    tmp_path: Path, fields: dict[str, Any], status: int, code: str, param: str | None, stream: bool
) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post(
            "/v1/responses", json={"model": "alpha", "input": "hi", "stream": stream, **fields}
        )
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (status, code)
        assert param is None or error["param"] == param


@pytest.mark.req("P1")
@pytest.mark.parametrize("act", [Act.FIN, Act.HALF, Act.ERROR])
async def test_a_broken_stream_ends_with_response_failed(tmp_path: Path, act: Act) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(do=act, at=2))
        told = events((await ask(house, "a b c d e", stream=True)).text)
        assert told[-1]["type"] == "response.failed"
        assert told[-1]["response"]["error"]["message"]
        assert told[-1]["response"]["id"] == told[0]["response"]["id"]
        assert len([each for each in told if each["type"] in ("response.completed", "response.failed")]) == 1
        assert len(house.named(Failure)) == 1
        assert (await house.http.get(f"/v1/responses/{told[-1]['response']['id']}")).status_code == 404


async def test_a_silence_is_filled_with_events(tmp_path: Path) -> None:
    async with serving(tmp_path, keep_alive_interval=0.05) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(delay=0.2))
        kinds = [each["type"] for each in events((await ask(house, stream=True)).text)]
        assert kinds[:3] == ["response.created", "response.in_progress", "response.in_progress"]
        assert kinds.count("response.created") == 1
        house.mock.server("alpha").script(Fault(delay=0.2, status=500, body='{"error": {"message": "no"}}'))
        kinds = [each["type"] for each in events((await ask(house, stream=True)).text)]
        assert (kinds[0], kinds[-1]) == ("response.created", "response.failed")


async def test_a_client_that_leaves_frees_the_instance(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(answer="count", tokens=10_000, interval=0.01))
        body = {"model": "alpha", "input": "hi", "stream": True}
        async with house.http.stream("POST", "/v1/responses", json=body) as reply:
            await anext(reply.aiter_lines())
        await house.until(lambda: house.services.gateway.inflight == 0)
        assert [each.code for each in house.named(Failure)] == ["client_closed"]


@pytest.mark.req("F-111")
async def test_a_body_in_zstd_as_codex_may_send_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = zstandard.compress(json.dumps({"model": "alpha", "input": "hello"}).encode())
        headers = {"content-encoding": "zstd", "content-type": "application/json"}
        reply = await house.http.post("/v1/responses", content=body, headers=headers)
        assert text_of(reply.json()) == "hello"
        for bad, status in ((body[:10], 400), (zstandard.compress(bytes((20 << 20) + 1)), 413)):
            assert (await house.http.post("/v1/responses", content=bad, headers=headers)).status_code == status
        assert (await house.http.post("/v1/chat/completions", content=body, headers=headers)).status_code == 415


@pytest.mark.req("F-124")
async def test_a_conversation_is_not_longer_than_it_may_be(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        first = (await ask(house, "x" * 1000)).json()
        second = (await ask(house, "y" * 1000, previous_response_id=first["id"])).json()
        store = house.services.dialect_context.store
        assert len(await Shelf(store, None, most=8000).before(second["id"])) == 4
        with pytest.raises(PayloadTooLarge):
            await Shelf(store, None, most=3000).before(second["id"])
