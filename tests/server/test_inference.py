"""Requests through the whole server: what passes, what is filled in, what a broken upstream looks like."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.errors import LoadFailed
from lanhaven.events import (
    Failure,
    InferenceComplete,
    InferenceQueued,
)
from tests.server.clients import frames, words
from tests.serving import serving

pytestmark = pytest.mark.anyio


async def test_an_answer_passes_byte_for_byte(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        body = '{"id":"x",  "object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9 é"},"finish_reason":"stop"}],"odd_field":[1,2]}'
        house.mock.server("alpha").script(Fault(body=body))
        assert (await house.chat()).content == body.encode()


@pytest.mark.parametrize(("path", "allowed"), [("/v1/messages", "POST"), ("/api/tags", "GET, HEAD")])
async def test_a_method_that_a_route_does_not_take_is_told_those_that_it_does(
    tmp_path: Path, path: str, allowed: str
) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.put(path, json={})
        assert (reply.status_code, reply.headers["allow"]) == (405, allowed)


@pytest.mark.req("F-039")
@pytest.mark.parametrize("split", [1, 2, 3, 7])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_a_stream_cut_anywhere_arrives_whole(tmp_path: Path, split: int, line_end: str) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(text="Grüße an 世界 🌍", split=split, line_end=line_end))
        reply = await house.chat(stream=True)
        assert words(reply.text) == "Grüße an 世界 🌍"
        assert frames(reply.text)[-1] == "[DONE]"


@pytest.mark.req("F-034")
async def test_a_missing_done_is_supplied(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(done=False))
        reply = await house.chat(stream=True)
        assert frames(reply.text)[-1] == "[DONE]"
        assert len(house.named(InferenceComplete)) == 2


BROKEN = [
    pytest.param(Fault(do=Act.FIN, at=2), id="F-031 FIN in mid-stream"),
    pytest.param(Fault(do=Act.RST, at=2, interval=0.02), id="F-032 RST in mid-stream"),
    pytest.param(Fault(do=Act.HALF, at=2), id="F-033 half a frame"),
    pytest.param(Fault(do=Act.END, at=2), id="F-035 neither finish nor done"),
    pytest.param(Fault(do=Act.ERROR, at=2), id="F-043 error frame"),
    pytest.param(Fault(do=Act.FRAME, at=2, frame="data: {nonsense\n\n"), id="F-044 no JSON"),
]


@pytest.mark.req("F-031", "F-032", "F-033", "F-035", "F-043", "F-044", "P1")
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_stream_ends_with_one_error_frame_and_no_done(tmp_path: Path, fault: Fault) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(fault)
        reply = await house.chat("one two three four five six", stream=True)
        assert reply.status_code == 200
        seen = frames(reply.text)
        assert "[DONE]" not in seen
        assert [("error" in json.loads(frame)) for frame in seen] == [False] * (len(seen) - 1) + [True]
        error = json.loads(seen[-1])["error"]
        assert {"message", "type", "code"} <= set(error)
        assert len(house.named(Failure)) == 1
        assert (await house.chat()).status_code == 200, "the next request works"


@pytest.mark.req("F-031", "F-037", "F-042", "F-043")
@pytest.mark.parametrize(
    "fault",
    [
        Fault(do=Act.FIN, at=20),
        Fault(do=Act.RST, at=20),
        Fault(length=-5),
        Fault(length=50, close=True, do=Act.FIN, at=200),
        Fault(body='{"choices": [', framing="chunked"),
        Fault(body="<html>no</html>", content_type="text/html"),
        Fault(status=302, headers={"location": "http://169.254.169.254/"}),
        Fault(status=500, body="<html>oops</html>", content_type="text/html"),
        Fault(status=401),
        Fault(body='{"error": {"message": "engine says no"}}'),
    ],
)
async def test_a_broken_whole_reply_is_a_502(tmp_path: Path, fault: Fault) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(fault)
        reply = await house.chat()
        assert reply.status_code == 502
        assert reply.json()["error"]["code"] == "engine_protocol_error"
        assert "html" not in reply.text.lower().replace("web page", "")


@pytest.mark.req("F-042", "P8")
async def test_a_busy_upstream_is_told_as_busy(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(status=429, headers={"retry-after": "7"}))
        reply = await house.chat()
        assert reply.status_code == 429
        assert reply.headers["retry-after"] == "7"


@pytest.mark.req("F-038", "P9", "S1-38")
async def test_a_stalled_whole_reply_times_out(tmp_path: Path) -> None:
    async with serving(tmp_path, proxy_timeout=0.2) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.STALL, at=-1))
        reply = await house.chat()
        assert reply.status_code == 504
        assert reply.json()["error"]["code"] == "upstream_timeout"


@pytest.mark.req("F-038", "P10", "S1-39", "S1-40")
async def test_a_stream_that_falls_silent_ends_with_an_error_frame(tmp_path: Path) -> None:
    async with serving(tmp_path, stream_idle=0.2) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(do=Act.STALL, at=2))
        reply = await house.chat("one two three four", stream=True)
        assert json.loads(frames(reply.text)[-1])["error"]["code"] == "upstream_timeout"


@pytest.mark.req("P10")
async def test_silence_is_filled_with_comments(tmp_path: Path) -> None:
    async with serving(tmp_path, keep_alive_interval=0.05) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(delay_body=1.5))
        reply = await house.chat(stream=True)
        assert reply.text.count(": keep-alive\n\n") >= 2
        assert frames(reply.text)[-1] == "[DONE]"


@pytest.mark.req("P10", "F-063")
async def test_a_stream_waiting_for_a_load_is_kept_alive_and_then_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, keep_alive_interval=0.05) as house:
        with house.mock.held("alpha"):
            waiting = asyncio.create_task(house.chat(stream=True))
            await house.until(lambda: house.named(InferenceQueued))
            await asyncio.sleep(0.2)
        reply = await waiting
        assert reply.text.startswith(": keep-alive")
        assert frames(reply.text)[-1] == "[DONE]"


async def test_a_load_that_fails_at_once_is_an_error_status_even_for_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        house.mock.fail_loads("alpha", LoadFailed("alpha could not be loaded: broken."))
        reply = await house.chat(stream=True)
        assert reply.status_code == 500
        assert reply.json()["error"]["code"] == "load_failed"


async def test_a_load_that_fails_after_comments_is_an_error_frame(tmp_path: Path) -> None:
    async with serving(tmp_path, keep_alive_interval=0.05) as house:
        with house.mock.held("alpha"):
            waiting = asyncio.create_task(house.chat(stream=True))
            await house.until(lambda: house.named(InferenceQueued))
            await asyncio.sleep(0.15)
            house.mock.fail_loads("alpha", LoadFailed("alpha could not be loaded: broken."))
        reply = await waiting
        assert reply.status_code == 200
        assert json.loads(frames(reply.text)[-1])["error"]["code"] == "load_failed"


@pytest.mark.req("F-046")
@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": -5, "completion_tokens": 2**63}])
async def test_nonsense_in_usage_spoils_no_metric(tmp_path: Path, usage: dict[str, int]) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(Fault(usage=usage), Fault(usage=usage))
        await house.chat(stream=True)
        await house.chat()
        stats = house.services.metrics.performance()["tokenStats"]
        assert 0 <= stats["totalPromptTokens"] < 2**53
        assert 0 <= stats["totalCompletionTokens"] < 2**53


@pytest.mark.req("F-049", "F-090", "P1")
async def test_nothing_is_mixed_between_streams(tmp_path: Path) -> None:
    models = "default_model: one\nmodels:\n  - {id: one, provider: mock, enabled: true, config: {slots: 64}}\n"
    async with serving(tmp_path, models) as house:
        await house.chat()

        async def one(name: str) -> None:
            mock = {"answer": "count", "tokens": 30, "nonce": f"{name}-", "interval": 0.001}
            reply = await house.chat(stream=True, mock=mock)
            said = [f"{name}-tok{number}" for number in range(30)]
            assert (reply.status_code, words(reply.text).split()) == (200, said), reply.text

        await asyncio.gather(*(one(f"n{number}") for number in range(60)))
        assert house.mock.server("one").generations == 61


@pytest.mark.req("F-128", "P19")
async def test_a_request_cannot_steer_the_engines_insides(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat(chat_template="{{ x }}", id_slot=3, lora=[{"id": 1}], api_base="http://x", min_p=0.1)
        assert {"chat_template", "id_slot", "lora", "api_base"}.isdisjoint(house.sent)
        assert house.sent["min_p"] == 0.1


@pytest.mark.req("F-161", "P18")
async def test_no_engine_ever_sees_a_remote_image(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for url in ("http://127.0.0.1:1/x.png", "https://example.org/x.png", "file:///etc/passwd", "FTP://x"):
            part = {"type": "image_url", "image_url": {"url": url}}
            reply = await house.http.post(
                "/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}]}
            )
            assert reply.status_code == 400
            assert "Remote images are disabled" in reply.json()["error"]["message"]
        assert house.services.pool.ids() == {}


@pytest.mark.req("F-069", "C24")
async def test_after_the_active_instance_is_gone_the_default_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.http.post("/admin/models/load", json={"modelKey": "beta", "instanceId": "mine"})
        assert (await house.chat()).json()["model"] == "beta"
        await house.http.post("/admin/models/unload", json={"modelKey": "beta"})
        assert (await house.chat()).json()["model"] == "alpha"


@pytest.mark.req("F-186", "P20")
async def test_prompts_answers_and_keys_are_in_no_event_metric_or_error(tmp_path: Path) -> None:
    key = "sk-canary-key-0123456789abcdef"
    async with serving(tmp_path, key=key) as house:
        await house.chat("canary-prompt", user="canary-user")
        house.mock.server("alpha").script(Fault(do=Act.ERROR, at=0))
        await house.chat("canary-prompt", stream=True)
        pages = [
            await house.http.get(path) for path in ("/debug/status", "/debug/metrics", "/debug/events", "/metrics")
        ]
        told = "".join(page.text for page in pages) + "".join(map(repr, house.events))
        assert "canary" not in told


async def test_rerank_and_embeddings_reach_their_models(tmp_path: Path) -> None:
    models = (
        "models:\n  - {id: words, provider: mock, enabled: true, config: {kind: embedding}}\n"
        "  - {id: order, provider: mock, enabled: true, config: {kind: reranker}}\n"
    )
    async with serving(tmp_path, models) as house:
        vectors = await house.http.post("/v1/embeddings", json={"model": "words", "input": ["a", "b"]})
        assert [each["index"] for each in vectors.json()["data"]] == [0, 1]
        ranked = await house.http.post("/v1/rerank", json={"model": "order", "query": "a", "documents": ["a", "b"]})
        assert {each["index"] for each in ranked.json()["results"]} == {0, 1}
        wrong = await house.http.post("/v1/embeddings", json={"model": "order", "input": "a"})
        assert wrong.status_code == 400
        assert "words" in wrong.json()["error"]["message"]


async def test_a_model_that_cannot_run_says_why(tmp_path: Path) -> None:
    models = "models:\n  - {id: lost, provider: mock, enabled: true, config: {nonsense: 1}}\n"
    async with serving(tmp_path, models) as house:
        reply = await house.chat(model="lost")
        assert reply.status_code == 503
        assert "nonsense" in reply.json()["error"]["message"]
