"""/v1/messages on a real socket, over the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted_faults import Act, Fault
from lanhaven.events import Failure, InferenceComplete
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789abcdef0123456789abcdef"


async def ask(house: House, path: str = "/v1/messages", **fields: Any) -> httpx2.Response:
    body = {"model": "alpha", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}], **fields}
    return await house.http.post(path, json=body)


def events(text: str) -> list[dict[str, Any]]:
    told = []
    for frame in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        if lines:
            told.append(json.loads(lines["data"]))
            assert told[-1]["type"] == lines["event"]
    return told


async def test_a_whole_message(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await ask(house, "/v1/messages?beta=true")
        message = reply.json()
        assert reply.status_code == 200
        assert reply.headers["request-id"] == reply.headers["x-request-id"]
        assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "alpha")
        assert message["id"].startswith("msg_")
        assert message["content"][0]["text"]
        assert message["stop_reason"] == "end_turn"
        assert message["usage"]["output_tokens"] > 0
        assert house.sent["stream"] is False
        assert house.named(InferenceComplete)[0].dialect == "anthropic"


async def test_a_stream_and_a_whole_message_say_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        streamed = events((await ask(house, stream=True)).text)
        text = "".join(each["delta"]["text"] for each in streamed if each["type"] == "content_block_delta")
        assert text == (await ask(house)).json()["content"][0]["text"]
        assert [streamed[0]["type"], streamed[-1]["type"]] == ["message_start", "message_stop"]


async def test_a_tool_is_called(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(tool="add", arguments={"a": 1}))
        tools = [{"name": "add", "input_schema": {"type": "object"}}]
        message = (await ask(house, tools=tools)).json()
        assert message["stop_reason"] == "tool_use"
        assert message["content"][-1] | {"id": ""} == {"type": "tool_use", "id": "", "name": "add", "input": {"a": 1}}


async def test_tokens_are_counted_by_the_engine(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        messages = [{"role": "user", "content": "one two three"}]
        reply = await house.http.post("/v1/messages/count_tokens", json={"model": "alpha", "messages": messages})
        assert reply.json() == {"input_tokens": 3}


async def test_claude_code_finds_local_models(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert (await ask(house, model="claude-local-alpha")).json()["model"] == "claude-local-alpha"
        assert (await house.http.head("/")).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"model": "nobody"}, 404, "not_found_error"),
        ({"model": "claude-haiku-4-5"}, 404, "not_found_error"),
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": "hi"}, 400, "invalid_request_error"),
    ],
)
async def test_errors_in_anthropics_words(tmp_path: Path, fields: dict[str, Any], status: int, kind: str) -> None:
    async with serving(tmp_path) as house:
        reply = await ask(house, **fields)
        assert reply.status_code == status
        body = reply.json()
        assert (body["type"], body["error"]["type"]) == ("error", kind)
        assert body["request_id"] == reply.headers["x-request-id"]


async def test_a_wrong_key(tmp_path: Path) -> None:
    async with serving(tmp_path, key=KEY) as house:
        reply = await house.http.post("/v1/messages", json={}, headers={"x-api-key": "wrong"})
        assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")


async def test_too_much_to_do_is_529(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        house.shutdown.begin("test")
        reply = await ask(house)
        assert (reply.status_code, reply.json()["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize("act", [Act.FIN, Act.HALF, Act.ERROR])
async def test_a_broken_stream_ends_with_an_error_event(tmp_path: Path, act: Act) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(do=act, at=2))
        told = events((await ask(house, stream=True, messages=[{"role": "user", "content": "a b c d e"}])).text)
        assert told[-1]["type"] == "error"
        assert "message_stop" not in {each["type"] for each in told}
        assert len(house.named(Failure)) == 1


async def test_a_prompt_that_is_too_long_is_said_as_claude_code_expects(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await ask(house)
        error = {"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 3031, "n_ctx": 512,
                           "message": "request (3031 tokens) exceeds the available context size (512 tokens)"}}  # fmt: skip
        house.mock.server("alpha").script(Fault(status=400, body=json.dumps(error)))
        reply = await ask(house)
        assert reply.status_code == 400
        assert reply.json()["error"]["message"].startswith("prompt is too long: 3031 tokens > 512 maximum")


async def test_silence_is_filled_with_pings(tmp_path: Path) -> None:
    async with serving(tmp_path, keep_alive_interval=0.05) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(delay_body=0.2))
        assert "ping" in {each["type"] for each in events((await ask(house, stream=True)).text)}
