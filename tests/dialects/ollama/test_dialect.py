"""/api/... on a real socket, over the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted_faults import Act, Fault
from lanhaven.events import Failure, InferenceComplete
from lanhaven.types.models import LoadConfig
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

CHAT = {"model": "alpha", "messages": [{"role": "user", "content": "one two three"}]}


async def post(house: House, path: str, **fields: Any) -> httpx2.Response:
    return await house.http.post(path, json=fields)


def lines(reply: httpx2.Response) -> list[dict[str, Any]]:
    """Every line, none of them blank: the libraries read each one as JSON."""
    assert reply.text.endswith("\n")
    return [json.loads(line) for line in reply.text[:-1].split("\n")]


@pytest.mark.req("S4-15", "S4-16", "C19")
async def test_a_chat_streams_lines(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await post(house, "/api/chat", **CHAT)
        assert reply.headers["content-type"] == "application/x-ndjson"
        told = lines(reply)
        assert [each["done"] for each in told] == [False] * (len(told) - 1) + [True]
        assert "".join(each["message"]["content"] for each in told)
        last = told[-1]
        assert (last["done_reason"], last["message"]["content"], last["model"]) == ("stop", "", "alpha")
        assert all(isinstance(last[name], int) for name in last if name.endswith(("_duration", "_count")))
        assert last["eval_count"] > 0
        assert house.named(InferenceComplete)[0].dialect == "ollama"


@pytest.mark.req("S4-15")
async def test_a_whole_chat_says_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        told = lines(await post(house, "/api/chat", **CHAT))
        whole = (await post(house, "/api/chat", **CHAT, stream=False)).json()
        assert whole["message"]["content"] == "".join(each["message"]["content"] for each in told)
        assert whole["done"] is True


async def test_a_whole_answer_may_take_as_long_as_the_first_piece_of_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path, proxy_timeout=0.05, first_byte_timeout=20) as house:
        slow = {"delay": 0.3}
        assert (await post(house, "/v1/chat/completions", **CHAT, mock=slow)).status_code == 504
        house.mock.server("alpha").script(Fault(delay=0.3))
        assert (await post(house, "/api/chat", **CHAT, stream=False)).json()["done"] is True


async def test_a_whole_answer_of_a_server_that_tells_no_times_has_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        whole = (await post(house, "/api/chat", **CHAT, stream=False)).json()
        assert whole["eval_duration"] > 0
        assert whole["eval_duration"] <= whole["total_duration"]


async def test_generate_tells_of_calls_beside_its_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        message = {"role": "assistant", "content": "so", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
        ]}  # fmt: skip
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        await house.services.gateway.load("alpha")
        house.mock.server("alpha").script(Fault(body=json.dumps(body)))
        whole = (await post(house, "/api/generate", model="alpha", prompt="x", stream=False)).json()
        assert (whole["response"], whole["tool_calls"][0]["function"]["arguments"]) == ("so", {"at": 1})
        assert "message" not in whole


@pytest.mark.req("S4-15")
@pytest.mark.parametrize("raw", [False, True])
async def test_generate(tmp_path: Path, raw: bool) -> None:
    async with serving(tmp_path) as house:
        told = lines(await post(house, "/api/generate", model="alpha", prompt="one two", raw=raw))
        assert "".join(each["response"] for each in told)
        assert told[-1]["done"]


async def test_a_tool_is_called_with_an_object(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await post(house, "/api/chat", **CHAT)
        house.mock.server("alpha").script(Fault(tool="add", arguments={"a": 1}))
        tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
        message = (await post(house, "/api/chat", **CHAT, tools=tools, stream=False)).json()["message"]
        assert message["tool_calls"] == [{"function": {"index": 0, "name": "add", "arguments": {"a": 1}}}]


@pytest.mark.req("S4-15")
async def test_lists(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for path in ("/api/version", "/api/tags", "/api/ps"):
            assert (await house.http.head(path)).status_code == 200
        tags = (await house.http.get("/api/tags")).json()["models"]
        assert {each["name"] for each in tags} == {"alpha:latest", "beta:latest", "gamma:latest"}
        assert set(tags[0]) == {"name", "model", "modified_at", "size", "digest", "details"}
        assert (await house.http.get("/api/ps")).json() == {"models": []}
        await post(house, "/api/chat", **CHAT)
        running = (await house.http.get("/api/ps")).json()["models"]
        assert [each["name"] for each in running] == ["alpha:latest"]
        assert running[0]["expires_at"] > running[0]["modified_at"]
        shown = (await post(house, "/api/show", name="alpha:latest")).json()
        assert "completion" in shown["capabilities"]
        assert {"modelfile", "parameters", "template", "details", "model_info"} <= set(shown)


@pytest.mark.req("S4-15")
async def test_loading_and_unloading_by_an_empty_question(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert (await post(house, "/api/generate", model="alpha", stream=False)).json()["done_reason"] == "load"
        assert list(house.services.pool.ids()) == ["alpha"]
        told = lines(await post(house, "/api/chat", model="alpha", messages=[], keep_alive=0))
        assert told[-1]["done_reason"] == "unload"
        await house.until(lambda: not house.services.pool.ids())
        assert house.named(InferenceComplete) == []


async def test_keep_alive_ends_or_keeps_what_requests_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        pool = house.services.pool
        await post(house, "/api/chat", **CHAT, keep_alive="5m")
        instance = pool.get("alpha")
        assert instance is not None
        assert instance.expires_at == pytest.approx(instance.last_used + 300)
        await post(house, "/api/chat", **CHAT, keep_alive=-1)
        kept = pool.get("alpha")
        assert kept is not None
        assert kept.expires_at is None
        await post(house, "/api/chat", **CHAT, keep_alive=0)
        await house.until(lambda: not pool.ids())


@pytest.mark.parametrize("seconds", [1e308, 1e13])
async def test_as_good_as_for_ever_is_for_ever(tmp_path: Path, seconds: float) -> None:
    """No date can be made of it."""
    async with serving(tmp_path) as house:
        order = {"modelKey": "alpha", "ttlSeconds": seconds}
        assert (await house.http.post("/admin/models/load", json=order)).status_code == 200
        (running,) = (await house.http.get("/api/ps")).json()["models"]
        assert running["expires_at"].startswith("2318")
        assert (await house.http.get("/api/v1/models")).status_code == 200


@pytest.mark.req("F-046")
@pytest.mark.parametrize("nonsense", [10**400, -1, True, "7", [1]])
async def test_nonsense_of_an_engine_is_left_aside(tmp_path: Path, nonsense: Any) -> None:
    said = {"message": {"content": "hi"}, "finish_reason": "stop", "logprobs": {"content": nonsense}}
    reply = {"choices": [said], "timings": {"prompt_ms": nonsense, "predicted_ms": nonsense}}
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(body=json.dumps(reply)))
        told = (await post(house, "/api/chat", **CHAT, stream=False)).json()
        assert told["message"]["content"] == "hi"
        assert 0 <= told["eval_duration"] < 10**12


async def test_keep_alive_leaves_an_operators_instance_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.services.gateway.load("alpha")
        await post(house, "/api/chat", **CHAT, keep_alive=0)
        assert list(house.services.pool.ids()) == ["alpha"]


async def test_without_admin_keep_alive_is_for_what_the_request_loads_itself(tmp_path: Path) -> None:
    """What is loaded already is everybody's: it is neither ended nor kept by one of them."""
    async with serving(tmp_path, key="a-key-that-is-long-enough") as house:
        pool = house.services.pool
        key = (await post(house, "/admin/keys", name="kid")).json()["key"]
        kid = {"X-API-Key": key}

        async def asks(**fields: Any) -> httpx2.Response:
            return await house.http.post("/api/chat", json={**CHAT, **fields}, headers=kid)

        def ttl() -> float | None:
            instance = pool.get("alpha")
            assert instance is not None
            return None if instance.expires_at is None else instance.expires_at - instance.last_used

        await post(house, "/api/chat", **CHAT)
        usual = ttl()
        for keep_alive in (0, "1s", -1):
            assert (await asks(keep_alive=keep_alive)).status_code == 200
            assert ttl() == usual
        refused = await asks(messages=[], keep_alive=0)
        assert (refused.status_code, "admin" in refused.json()["error"]) == (403, True)
        await post(house, "/api/chat", model="alpha", messages=[], keep_alive=0)
        assert not pool.ids()
        assert (await asks(messages=[], keep_alive=0)).status_code == 200
        await asks(keep_alive="5m")
        assert ttl() == pytest.approx(300)
        await asks(keep_alive="1h")
        assert ttl() == pytest.approx(300)


async def test_a_larger_context_is_reused_and_a_smaller_one_makes_room(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:

        async def context_after(size: int) -> list[int | None]:
            await post(house, "/api/chat", **CHAT, options={"num_ctx": size})
            return [each.load_config.context_length for each in house.services.pool.instances()]

        assert await context_after(1024) == [1024]
        assert await context_after(2048) == [2048]
        assert await context_after(512) == [2048], "the larger one serves"


async def test_an_operators_smaller_context_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.services.gateway.load("alpha", config=LoadConfig(context_length=512))
        reply = await post(house, "/api/chat", **CHAT, options={"num_ctx": 2048})
        assert reply.status_code == 200
        assert [each.load_config.context_length for each in house.services.pool.instances()] == [512]


@pytest.mark.req("S4-x13")
async def test_pull_of_a_model_that_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        told = lines(await post(house, "/api/pull", model="alpha"))
        assert told[-1] == {"status": "success"}
        assert (await post(house, "/api/pull", model="alpha", stream=False)).json() == {"status": "success"}


@pytest.mark.req("S4-x13")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/pull", 404),
        ("POST", "/api/create", 501),
        ("POST", "/api/copy", 501),
        ("POST", "/api/push", 501),
        ("DELETE", "/api/delete", 501),
        ("POST", "/api/blobs/sha256:00", 501),
        ("HEAD", "/api/blobs/sha256:00", 404),
        ("POST", "/api/chat", 404),
        ("POST", "/api/show", 404),
    ],
)
async def test_what_makes_no_sense_here_says_so(tmp_path: Path, method: str, path: str, status: int) -> None:
    async with serving(tmp_path) as house:
        body = {"model": "nobody", "messages": CHAT["messages"]}
        reply = await house.http.request(method, path, json=body)
        assert reply.status_code == status
        if method != "HEAD":
            assert isinstance(reply.json()["error"], str)


@pytest.mark.parametrize("act", [Act.FIN, Act.HALF, Act.ERROR])
async def test_a_broken_stream_ends_with_an_error_line(tmp_path: Path, act: Act) -> None:
    async with serving(tmp_path) as house:
        await post(house, "/api/chat", **CHAT)
        house.mock.server("alpha").script(Fault(do=act, at=1))
        told = lines(await post(house, "/api/chat", **CHAT))
        assert "error" in told[-1]
        assert not any(each.get("done") for each in told)
        assert len(house.named(Failure)) == 1


async def test_silence_is_filled_with_empty_lines_of_the_protocol(tmp_path: Path) -> None:
    async with serving(tmp_path, keep_alive_interval=0.05) as house:
        await post(house, "/api/chat", **CHAT)
        house.mock.server("alpha").script(Fault(delay_body=0.2))
        told = lines(await post(house, "/api/chat", **CHAT))
        assert told[0]["message"] == {"role": "assistant", "content": ""}
        assert told[0]["done"] is False


@pytest.mark.req("F-124")
@pytest.mark.parametrize(
    "given", [[{"prompt_string": "x", "multimodal_data": ["x"]}], ["a", 5], [1, 2], [["a"]], {}, None]
)
async def test_only_texts_are_embedded(tmp_path: Path, given: Any) -> None:
    async with serving(tmp_path) as house:
        reply = await post(house, "/api/embed", model="alpha", input=given)
        assert (reply.status_code, reply.json()["error"]) == (400, "input must be a text or a list of texts.")


async def test_nothing_is_embedded_by_a_model_that_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for path, empty in (("/api/embed", {"input": []}), ("/api/embed", {"input": ""}), ("/api/embeddings", {})):
            assert (await post(house, path, model="alpha", **empty)).status_code == 200
            assert (await post(house, path, model="nobody", **empty)).status_code == 404
