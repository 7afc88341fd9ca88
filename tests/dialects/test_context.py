"""A prompt that its instance cannot hold, in every dialect: the error in its own words, or fewer turns and headers that
say so. The mock's tokens are words, and an instance here holds 40."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted import Fault, ScriptedServer
from lanhaven.engines.scripted_answers import ScriptedModel
from lanhaven.events import InferenceComplete
from lanhaven.types.chat import Dropped
from tests.dialects.lmstudio.frames import frames
from tests.dialects.lmstudio.test_predict import about
from tests.dialects.lmstudio.test_prediction import layer
from tests.dialects.lmstudio.test_prediction import said as lm_said
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: small
models:
  - {id: small, provider: mock, config: {context_length: 40}}
  - {id: rolling, provider: mock, config: {context_length: 40}, defaults: {contextOverflow: drop-oldest}}
"""
LONG = "word " * 60
DROP = {"X-LanHaven-Context-Overflow": "drop-oldest"}


@asynccontextmanager
async def house_of(home: Path, models: str = MODELS, **settings: Any) -> AsyncIterator[House]:
    async with serving(home, models, **settings) as house:
        yield house


def turns(count: int = 6, words: int = 10) -> list[dict[str, Any]]:
    """A system message, so many questions with answers, and a last question."""
    talk = [
        {"role": role, "content": f"{role[0]}{number} " + "x " * (words - 1)}
        for number in range(count)
        for role in ("user", "assistant")
    ]
    return [{"role": "system", "content": "be kind"}, *talk, {"role": "user", "content": "and now"}]


def kept(house: House) -> list[str]:
    """The first word of each message that the engine got last."""
    return [str(each["content"]).split()[0] for each in house.seen[-1].body["messages"]]


@pytest.mark.req("F-129")
class TestTheError:
    async def test_openai(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            for stream in (False, True):
                reply = await house.chat(LONG, stream=stream)
                assert reply.status_code == 400
                assert reply.headers["x-should-retry"] == "false"
                error = reply.json()["error"]
                assert (error["code"], error["type"]) == ("context_length_exceeded", "invalid_request_error")
                assert (error["n_prompt_tokens"], error["n_ctx"], error["param"]) == (60, 40, "messages")
                assert "maximum context length is 40 tokens" in error["message"]
                assert "resulted in 60 tokens" in error["message"]
            reply = await house.http.post("/v1/completions", json={"prompt": LONG})
            assert reply.status_code == 400
            assert reply.json()["error"]["param"] == "prompt"

    async def test_responses(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            reply = await house.http.post("/v1/responses", json={"model": "small", "input": LONG})
            assert reply.status_code == 400
            assert reply.json()["error"]["code"] == "context_length_exceeded"

    async def test_anthropic(self, tmp_path: Path) -> None:
        body = {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": LONG}]}
        async with house_of(tmp_path) as house:
            reply = await house.http.post("/v1/messages", json=body)
        assert (reply.status_code, reply.headers["x-should-retry"]) == (400, "false")
        error = reply.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith("prompt is too long: 60 tokens > 40 maximum.")

    async def test_ollama(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            for path, body in (
                ("/api/chat", {"messages": [{"role": "user", "content": LONG}]}),
                ("/api/generate", {"prompt": LONG}),
                ("/api/generate", {"prompt": LONG, "raw": True}),
            ):
                reply = await house.http.post(path, json={"model": "small", **body})
                assert (reply.status_code, reply.headers["x-should-retry"]) == (400, "false")
                assert reply.json()["error"].startswith(
                    "the input length exceeds the context length: 60 tokens, of 40. Try: shorten it"
                )

    async def test_lm_studio(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            v0 = await house.http.post(
                "/api/v0/chat/completions", json={"model": "small", "messages": [{"role": "user", "content": LONG}]}
            )
            assert v0.json()["error"]["code"] == "context_length_exceeded"
            v1 = await house.http.post("/api/v1/chat", json={"model": "small", "input": LONG})
            assert v1.status_code == 400
            assert "40 tokens" in v1.text
            assert "60 tokens" in v1.text
            async with frames(house.url) as client:
                packets = await client.channel("predict", about("small", messages=[lm_said(LONG)]))
                error = packets[-1]["error"]
            assert "40 tokens" in error["title"]
            assert "60 tokens" in error["title"]
            assert error["suggestion"] == "shorten it: small itself takes 40 tokens at most"

    async def test_a_job(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            last = await job(house, [{"role": "user", "content": LONG}])
            assert last["error"]["code"] == "context_length_exceeded"
            assert (last["error"]["n_prompt_tokens"], last["error"]["n_ctx"]) == (60, 40)


class TestDroppingTheOldest:
    async def test_nothing_goes_unless_somebody_asks(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            reply = await house.http.post("/v1/chat/completions", json={"messages": turns()})
            assert reply.status_code == 400
            assert len(house.seen) == 1
            wrong = {"X-LanHaven-Context-Overflow": "cut"}
            reply = await house.http.post("/v1/chat/completions", json={"messages": turns()}, headers=wrong)
            assert reply.status_code == 400
            assert reply.json()["error"]["param"] == "x-lanhaven-context-overflow"

    async def test_openai_by_a_header(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            body = {"messages": turns(), "max_tokens": 8}
            for stream in (False, True):
                reply = await house.http.post("/v1/chat/completions", json={**body, "stream": stream}, headers=DROP)
                assert reply.status_code == 200
                assert (left_out(reply)) == ("10", "100")
                assert kept(house) == ["be", "u5", "a5", "and"]
                assert house.named(InferenceComplete)[-1].dropped == Dropped(10, 100)
                assert '"choices":[],' not in reply.text  # a usage chunk that nobody wanted

    async def test_the_first_turn_may_stay(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            headers = {"X-LanHaven-Context-Overflow": "drop-middle"}
            body = {"messages": turns(), "max_tokens": 8}
            reply = await house.http.post("/v1/chat/completions", json=body, headers=headers)
            assert (left_out(reply)) == ("10", "100")
            assert kept(house) == ["be", "u0", "a0", "and"]

    async def test_an_instances_default_which_a_request_overrules(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            body = {"model": "rolling", "messages": turns(), "max_tokens": 8}
            reply = await house.http.post("/v1/chat/completions", json=body)
            assert left_out(reply) == ("10", "100")
            assert "context_overflow" not in house.seen[-1].body
            headers = {"X-LanHaven-Context-Overflow": "error"}
            assert (await house.http.post("/v1/chat/completions", json=body, headers=headers)).status_code == 400
            loaded = (await house.http.get("/admin/models")).json()["loaded"]
            assert loaded[0]["defaultInference"] == {"contextOverflow": "drop-oldest"}

    async def test_a_default_by_the_admin_api(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            load = {"modelKey": "small", "defaultInference": {"contextOverflow": "drop-oldest"}}
            reply = await house.http.post("/admin/models/load", json=load)
            assert reply.status_code == 200, reply.text
            reply = await house.http.post("/v1/chat/completions", json={"messages": turns()})
            assert left_out(reply) == ("10", "100")
            load["defaultInference"] = {"contextOverflow": "sometimes"}
            assert (await house.http.post("/admin/models/load", json=load)).status_code == 400

    async def test_responses(self, tmp_path: Path) -> None:
        body = {"model": "small", "instructions": "be kind", "input": turns()[1:], "max_output_tokens": 8}
        async with house_of(tmp_path) as house:
            reply = await house.http.post("/v1/responses", json={**body, "truncation": "auto"})
            assert reply.status_code == 200, reply.text
            assert reply.json()["truncation"] == "auto"
            assert left_out(reply) == ("10", "100")
            assert kept(house) == ["be", "u5", "a5", "and"]
            reply = await house.http.post("/v1/responses", json={**body, "truncation": "disabled"})
            assert reply.status_code == 400

    async def test_anthropic(self, tmp_path: Path) -> None:
        body = {"model": "small", "max_tokens": 8, "system": "be kind", "messages": turns()[1:]}
        async with house_of(tmp_path) as house:
            reply = await house.http.post("/v1/messages", json=body, headers=DROP)
            assert reply.status_code == 200, reply.text
            assert left_out(reply) == ("10", "100")

    async def test_ollama_does_it_by_itself_and_says_so(self, tmp_path: Path) -> None:
        body = {"model": "small", "messages": turns(), "options": {"num_predict": 8}}
        async with house_of(tmp_path) as house:
            for stream in (False, True):
                reply = await house.http.post("/api/chat", json={**body, "stream": stream})
                assert reply.status_code == 200, reply.text
                assert left_out(reply) == ("10", "100")
                assert kept(house) == ["be", "u5", "a5", "and"]
            assert (await house.http.post("/api/chat", json={**body, "truncate": False})).status_code == 400
            assert (await house.http.post("/api/chat", json={**body, "truncate": "no"})).status_code == 400

    async def test_lm_studio(self, tmp_path: Path) -> None:
        messages = [lm_said(each["content"], each["role"]) for each in turns()]
        async with house_of(tmp_path) as house, frames(house.url) as client:
            await house.services.gateway.load("small")
            for policy, first in (("rollingWindow", "u5"), ("truncateMiddle", "u0")):
                packets = await client.channel(
                    "predict", about("small", layer({"contextOverflowPolicy": policy}), messages=messages)
                )
                assert packets[-1]["type"] == "success"
                assert kept(house)[1] == first
                assert packets[-1]["stats"]["promptTokensCount"] == 24
            stop = layer({"contextOverflowPolicy": "stopAtLimit"})
            packets = await client.channel("predict", about("small", stop, messages=messages))
            assert "error" in packets[-1]

    async def test_a_job(self, tmp_path: Path) -> None:
        async with house_of(tmp_path) as house:
            last = await job(house, turns(), **DROP)
            assert last["dropped"] == {"messages": 10, "tokens": 100}

    async def test_a_stream_whose_headers_have_left_says_it_in_a_comment(self, tmp_path: Path) -> None:
        models = "models: [{id: slow, provider: mock, config: {context_length: 40, load_seconds: 0.2}}]"
        async with house_of(tmp_path, models, keep_alive_interval=0.05) as house:
            body = {"model": "slow", "messages": turns(), "stream": True}
            reply = await house.http.post("/v1/chat/completions", json=body, headers=DROP)
            assert left_out(reply) == (None, None)
            assert ": x-lanhaven-dropped-messages: 10\n: x-lanhaven-dropped-tokens: 100\n\n" in reply.text
            assert reply.text.endswith("data: [DONE]\n\n")

    async def test_an_upstream_that_cannot_count(self, tmp_path: Path) -> None:
        async with ScriptedServer(ScriptedModel(context=40)) as server:
            models = f"models: [{{id: far, provider: openai, config: {{base_url: {server.base_url}/v1, model: mock}}}}]"
            async with house_of(tmp_path, models) as house:
                body = {"model": "far", "messages": turns(), "max_tokens": 8}
                reply = await house.http.post("/v1/chat/completions", json=body, headers=DROP)
                assert reply.status_code == 200, reply.text
                messages, tokens = left_out(reply)
                assert messages == "10"
                assert tokens is None
                reply = await house.http.post("/v1/chat/completions", json=body)
                assert reply.json()["error"]["message"].endswith("Try: shorten it")

    async def test_an_upstream_that_refuses_in_the_first_frame_of_a_stream(self, tmp_path: Path) -> None:
        message = (
            "Trying to keep the first 124 tokens when context the overflows. However, the model is loaded with context "
            "length of only 40 tokens, which is not enough."
        )
        frame = f"event: error\ndata: {json.dumps({'error': {'message': message}})}\n\n"
        refusal = Fault(body=frame, content_type="text/event-stream")
        async with ScriptedServer(ScriptedModel(context=40)) as server:
            models = f"models: [{{id: far, provider: openai, config: {{base_url: {server.base_url}/v1, model: mock}}}}]"
            async with house_of(tmp_path, models) as house:
                body = {"model": "far", "messages": turns(), "max_tokens": 8, "stream": True}
                server.script(refusal)
                reply = await house.http.post("/v1/chat/completions", json=body, headers=DROP)
                assert left_out(reply) == ("10", None)
                assert reply.text.endswith("data: [DONE]\n\n")
                server.script(refusal)
                reply = await house.http.post("/v1/chat/completions", json=body)
                assert reply.status_code == 400
                error = reply.json()["error"]
                assert (error["n_prompt_tokens"], error["n_ctx"]) == (124, 40)
                assert "maximum context length is 40 tokens" in error["message"]


def left_out(reply: httpx2.Response) -> tuple[str | None, str | None]:
    """What the reply says was left out: messages, tokens."""
    return reply.headers.get("x-lanhaven-dropped-messages"), reply.headers.get("x-lanhaven-dropped-tokens")


async def job(house: House, messages: list[dict[str, Any]], **headers: str) -> dict[str, Any]:
    """The payload of the last event of a job."""
    body = {"messages": messages, "max_tokens": 8}
    reply = await house.http.post("/api/v1/ai/lmstudio/infer", json=body, headers=headers)
    async with house.http.stream("GET", f"/api/v1/ai/lmstudio/stream/{reply.json()['job_id']}") as stream:
        events = [json.loads(each.data) async for each in httpx2.EventSource(stream)]
    payload: dict[str, Any] = events[-1]["payload"]
    return payload
