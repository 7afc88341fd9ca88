"""/api/v0: OpenAI's answers with LM Studio's figures, whole and streamed; its two fields on every OpenAI route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted import Act, Fault
from tests.dialects.lmstudio.words import V0Figures
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock}
  - {id: vectors, provider: mock, config: {kind: embedding}}
"""


async def chat(house: House, text: str = "one two three", **fields: Any) -> httpx2.Response:
    body = {"model": "alpha", "messages": [{"role": "user", "content": text}], **fields}
    return await house.http.post("/api/v0/chat/completions", json=body)


def frames(reply: httpx2.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]" or "error" in lines[-1]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_a_whole_chat(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        body = (await chat(house)).json()
        assert body["choices"][0]["message"]["content"] == "one two three"
        assert body["usage"]["completion_tokens"] == 3
        figures = V0Figures.model_validate(body)
        assert figures.stats.stop_reason == "eosFound"
        assert figures.stats.tokens_per_second > 0
        assert figures.model_info.context_length == 8192
        assert figures.runtime.name == "lanhaven-mock"


async def test_the_engines_own_timings_are_preferred(tmp_path: Path) -> None:
    told = {"prompt_n": 5, "prompt_ms": 250.0, "predicted_n": 8, "predicted_ms": 2000.0}
    async with serving(tmp_path, MODELS) as house:
        await chat(house)
        reply = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}], "timings": told}
        house.mock.server("alpha").script(Fault(body=json.dumps(reply | {"usage": {"completion_tokens": 8}})))
        stats = V0Figures.model_validate((await chat(house)).json()).stats
        assert (stats.tokens_per_second, stats.generation_time, stats.time_to_first_token) == (4.0, 2.0, 0.25)


@pytest.mark.parametrize("usage", [False, True])
async def test_the_last_chunk_of_a_stream_has_the_figures(tmp_path: Path, usage: bool) -> None:
    async with serving(tmp_path, MODELS) as house:
        options = {"stream_options": {"include_usage": True}} if usage else {}
        *chunks, last = frames(await chat(house, stream=True, **options))
        figures = V0Figures.model_validate(last)
        assert figures.stats.time_to_first_token is not None
        assert all("stats" not in each for each in chunks)
        assert ("usage" in last and last["choices"] == []) == usage
        if not usage:
            assert last["choices"][0]["finish_reason"] == "stop"
        said = "".join(each["choices"][0]["delta"].get("content", "") for each in chunks if each["choices"])
        assert said == "one two three"


async def test_of_several_answers_each_ends_and_the_last_chunk_has_the_figures(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        chunks = frames(await chat(house, stream=True, n=3))
        finished = [each["choices"][0]["index"] for each in chunks if each["choices"][0]["finish_reason"]]
        assert sorted(finished) == [0, 1, 2]
        assert [("stats" in each) for each in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_tokens": 2}, "maxPredictedTokensReached"),
        ({"max_tokens": -1}, "eosFound"),
        ({"mock": {"tool": "look"}}, "toolCalls"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_why_it_stopped(tmp_path: Path, fields: dict[str, Any], reason: str, stream: bool) -> None:
    async with serving(tmp_path, MODELS) as house:
        reply = await chat(house, stream=stream, **fields)
        body = frames(reply)[-1] if stream else reply.json()
        assert V0Figures.model_validate(body).stats.stop_reason == reason


async def test_a_context_that_is_full_is_no_limit_that_was_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await chat(house)
        reply = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "length"}]}
        house.mock.server("alpha").script(Fault(body=json.dumps(reply)))
        assert V0Figures.model_validate((await chat(house)).json()).stats.stop_reason == "contextLengthReached"


async def test_completions_and_embeddings(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        text = await house.http.post("/api/v0/completions", json={"model": "alpha", "prompt": "a b"})
        assert text.json()["choices"][0]["text"] == "a b"
        V0Figures.model_validate(text.json())
        stream = await house.http.post("/api/v0/completions", json={"model": "alpha", "prompt": "a b", "stream": True})
        V0Figures.model_validate(frames(stream)[-1])
        vectors = await house.http.post(
            "/api/v0/embeddings", json={"model": "vectors", "input": ["a", "b"], "dimensions": 4}
        )
        body = vectors.json()
        assert [len(each["embedding"]) for each in body["data"]] == [4, 4]
        assert body["model_info"]["context_length"] == 8192
        assert body["runtime"]["supported_formats"] == ["gguf"]


BROKEN = [
    pytest.param(Fault(do=Act.FIN, at=2), id="FIN"),
    pytest.param(Fault(do=Act.HALF, at=2), id="half a frame"),
    pytest.param(Fault(do=Act.ERROR, at=2), id="error frame"),
    pytest.param(Fault(do=Act.CRASH, at=2, interval=0.02), id="crash"),
]


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_stream_ends_with_an_error_and_no_figures(tmp_path: Path, fault: Fault) -> None:
    async with serving(tmp_path, MODELS) as house:
        await chat(house)
        house.mock.server("alpha").script(fault)
        reply = await chat(house, stream=True)
        found = frames(reply)
        assert "[DONE]" not in reply.text
        assert set(found[-1]) == {"error"}
        assert all("stats" not in each for each in found)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v0/chat/completions"])
async def test_ttl_is_that_of_a_model_which_the_request_loads(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, MODELS) as house:
        ask = {"model": "alpha", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}
        assert (await house.http.post(path, json=ask | {"ttl": 17})).status_code == 200
        instance = house.services.pool.get("alpha")
        assert instance is not None
        assert (instance.load_config.idle_ttl, instance.automatic) == (17, True)
        assert "ttl" not in house.sent
        assert house.sent["max_tokens"] is None
        assert (await house.http.post(path, json=ask | {"ttl": 99})).status_code == 200  # loaded already: no effect
        instance = house.services.pool.get("alpha")
        assert instance is not None
        assert instance.load_config.idle_ttl == 17
        for wrong in (0, -1, "5m", True):
            reply = await house.http.post(path, json=ask | {"ttl": wrong})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, "ttl")


async def test_what_is_wrong_is_told_as_by_openai(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        for path, body, param in (
            ("chat/completions", {"messages": []}, "messages"),
            ("chat/completions", {"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}, "temperature"),
            ("completions", {}, "prompt"),
            ("embeddings", {"model": "vectors"}, "input"),
            ("chat/completions", {"model": "vectors", "messages": [{"role": "user", "content": "x"}]}, "model"),
        ):
            reply = await house.http.post(f"/api/v0/{path}", json=body)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
