"""The history over real sockets: what requests leave behind, the inspector, bodies on wish."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.history.bodies import Bodies, BodyLimits, masked
from lanhaven.keys.store import FILE_NAME, KeyScope, KeyStore
from tests.dialects.lmstudio.frames import frames
from tests.serving import House, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), history=True, log_level="debug") as house:
        yield house


@pytest.fixture
async def open_bodies(house: House) -> AsyncIterator[None]:
    await house.http.post("/admin/bodies", json={"enabled": True, "minutes": 5})
    yield
    await house.http.post("/admin/bodies", json={"enabled": False})


async def inspected(house: House, reply: httpx2.Response) -> dict[str, Any]:
    answer = await house.http.get(f"/debug/requests/{reply.headers['x-request-id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_streamed_chat_is_kept_with_its_first_token(house: House) -> None:
    body = {"stream": True, "temperature": 0.3, "max_tokens": 50, "response_format": {"type": "json_object"}}
    reply = await house.chat("a secret question", model="first", **body)
    found = await inspected(house, reply)
    assert found["status"] == "completed"
    assert (found["model"], found["instance"], found["dialect"]) == ("alpha", "alpha", "openai")
    assert (found["streamed"], found["finishReason"]) == (True, "stop")
    assert found["userAgent"].startswith("python-httpx")
    assert found["address"] == "127.0.0.1"
    assert found["queueMs"] <= found["firstTokenMs"] <= found["timeMs"]
    assert found["parameters"] == {
        "messages": 1,
        "stream": True,
        "temperature": 0.3,
        "max_tokens": 50,
        "response_format": "json_object",
    }
    assert found["body"] == "off"
    rows = (await house.http.get("/debug/history/requests?model=alpha&limit=1")).json()["requests"]
    assert rows[0].items() <= found.items()


async def test_the_wait_for_a_load_is_seen(tmp_path: Path) -> None:
    slow = "models: [{id: beta, provider: mock, enabled: true, config: {load_seconds: 0.05}}]"
    async with serving(tmp_path, slow, history=True) as house:
        found = await inspected(house, await house.chat(model="beta"))
        phases = {each["name"]: each["ms"] for each in found["phases"]}
        assert phases["load"] >= 40
        again = await inspected(house, await house.chat(model="beta"))
        assert "load" not in {each["name"] for each in again["phases"]}


async def test_no_text_gets_into_the_file(tmp_path: Path) -> None:
    word = "xyzzy-plugh"
    async with serving(tmp_path, history=True, key="sk-lan-0123456789abcdefghijklmnop") as house:
        for path, body in (
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": word}], "user": word, "stop": [word]}),
            ("/v1/responses", {"input": word, "instructions": word}),
            ("/v1/messages", {"model": "alpha", "max_tokens": 5, "messages": [{"role": "user", "content": word}]}),
            ("/api/chat", {"model": "alpha", "messages": [{"role": "user", "content": word}], "format": "json"}),
            ("/v1/embeddings", {"model": "alpha", "input": [word]}),
        ):
            await house.http.post(path, json=body)
        rows = (await house.http.get("/debug/history/requests")).json()["requests"]
        assert len(rows) == 5
        assert {row["key"] for row in rows} == {"settings"}
    written = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("history.sqlite3*"))
    assert b"chat/completions" in written
    assert word.encode() not in written
    assert b"0123456789abcdef" not in written


async def test_what_failed_is_told_with_the_model_that_was_meant(house: House) -> None:
    wrong = await inspected(house, await house.chat(model="nothing-like-it"))
    assert (wrong["status"], wrong["code"], wrong["model"]) == ("failed", "model_not_found", "nothing-like-it")
    rows = (await house.http.get("/debug/history/requests", params={"q": "nothing-like"})).json()["requests"]
    assert [row["requestId"] for row in rows] == [wrong["requestId"]]
    failed = (await house.http.get("/debug/history/requests?status=failed&limit=1")).json()["requests"]
    assert failed[0]["requestId"] == wrong["requestId"]


async def test_charts_and_usage_count_the_same_requests(house: House) -> None:
    await house.chat(model="gamma")
    await house.chat(model="gamma", stream=True)
    found = (await house.http.get("/debug/history/series?window=1h&model=gamma")).json()
    assert sum(found["requests"]) == 2
    assert sum(found["promptTokens"]) > 0
    assert "gamma" in found["models"]
    rows = (await house.http.get("/debug/history/usage?by=model")).json()["rows"]
    (gamma,) = (row for row in rows if row["model"] == "gamma")
    assert gamma["requests"] == 2
    assert gamma["completionTokens"] == sum(found["completionTokens"])


@pytest.mark.parametrize(
    "path",
    [
        "/debug/history/series?window=2h",
        "/debug/history/requests?limit=0",
        "/debug/history/requests?status=odd",
        "/debug/history/usage?days=0",
        "/debug/history/usage?by=hour",
    ],
)
async def test_wrong_questions_are_refused(house: House, path: str) -> None:
    assert (await house.http.get(path)).status_code == 400


async def test_a_history_that_is_off_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, history=False) as house:
        await house.chat()
        for path in ("history/series", "history/requests", "history/usage", "requests/req_1"):
            reply = await house.http.get(f"/debug/{path}")
            assert reply.status_code == 501
            assert "history: true" in reply.json()["hint"]
    assert not (tmp_path / "data" / "history.sqlite3").exists()


# ---- bodies


async def test_bodies_are_off_until_somebody_asks(house: House) -> None:
    assert (await house.http.get("/debug/bodies")).json() == {"enabled": False, "kept": 0, "bytes": 0}
    reply = await house.chat()
    gone = await house.http.get(f"/debug/requests/{reply.headers['x-request-id']}/body")
    assert gone.status_code == 404
    assert "/admin/bodies" in gone.json()["hint"]


async def test_bodies_are_kept_word_for_word(house: House, open_bodies: None) -> None:
    reply = await house.chat("tell me more", stream=True)
    assert (await inspected(house, reply))["body"] == "kept"
    body = (await house.http.get(f"/debug/requests/{reply.headers['x-request-id']}/body")).json()
    assert json.loads(body["request"])["messages"][0]["content"] == "tell me more"
    assert body["response"] == reply.text
    assert body["truncated"] is False
    state = (await house.http.get("/debug/bodies")).json()
    assert (state["enabled"], state["kept"]) == (True, 1)
    assert re.fullmatch(r"20\d\d-.*Z", state["until"])


async def test_error_replies_are_bodies_too(house: House, open_bodies: None) -> None:
    reply = await house.chat(model="nobody")
    body = (await house.http.get(f"/debug/requests/{reply.headers['x-request-id']}/body")).json()
    assert body["response"] == reply.text


async def last_of(house: House, path: str) -> dict[str, Any]:
    """The last request at this path, with its body, if that was kept."""
    rows = (await house.http.get("/debug/history/requests")).json()["requests"]
    row = next(each for each in rows if each["path"] == path)
    details: dict[str, Any] = (await house.http.get(f"/debug/requests/{row['requestId']}")).json()
    body = await house.http.get(f"/debug/requests/{row['requestId']}/body")
    return details | {"body": body.json()}


async def test_predictions_over_a_websocket_leave_the_same_behind(house: House, open_bodies: None) -> None:
    async with frames(house.url) as client:
        await client.channel("getOrLoad", {"identifier": "alpha", "loadConfigStack": {"layers": []}})
        asked = {
            "modelSpecifier": {"type": "query", "query": {"identifier": "alpha"}},
            "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "over a socket"}]}]},
            "predictionConfigStack": {"layers": []},
        }
        assert (await client.channel("predict", asked))[-1]["type"] == "success"
    found = await last_of(house, "/llm")
    assert found["address"] == "127.0.0.1"
    assert found["userAgent"].startswith("Python/")
    assert json.loads(found["body"]["request"])["messages"][0]["content"] == "over a socket"
    packets = [json.loads(line) for line in found["body"]["response"].splitlines()]
    assert "socket" in json.dumps([each for each in packets if each["type"] == "fragment"])


async def test_prompts_of_a_batch_too(house: House, open_bodies: None) -> None:
    prompts = [{"role": "user", "content": f"number {number}"} for number in range(2)]
    body = {"model": "alpha", "messages": prompts, "processing_mode": "sequential"}
    reply = await house.http.post("/v1/batch/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    found = await last_of(house, "/v1/batch/chat/completions")
    assert found["address"] == "127.0.0.1"
    assert found["userAgent"].startswith("python-httpx")
    assert json.loads(found["body"]["request"])["messages"][-1]["content"] == "number 1"
    assert "number" in json.loads(found["body"]["response"])["choices"][0]["message"]["content"]


async def test_bodies_end_by_themselves(house: House) -> None:
    await house.http.post("/admin/bodies", json={"enabled": True, "minutes": 0.0005})
    await house.until(lambda: house.services.bodies.tap is None)
    assert (await house.http.get("/debug/bodies")).json()["enabled"] is False


async def test_bodies_need_the_scope_admin(tmp_path: Path) -> None:
    looker = KeyStore(tmp_path / "config" / FILE_NAME).add("looker", (KeyScope.DEBUG, KeyScope.INFERENCE))
    async with serving(tmp_path, key="sk-lan-0123456789abcdefghijklmnop", history=True) as house:
        await house.http.post("/admin/bodies", json={"enabled": True})
        request_id = (await house.chat()).headers["x-request-id"]
        reader = {"X-API-Key": looker}
        assert (await house.http.get(f"/debug/requests/{request_id}", headers=reader)).status_code == 200
        assert (await house.http.get(f"/debug/requests/{request_id}/body", headers=reader)).status_code == 403
        assert (await house.http.post("/admin/bodies", json={"enabled": True}, headers=reader)).status_code == 403
        assert (await house.http.get(f"/debug/requests/{request_id}/body")).status_code == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"api_key": "abc", "x": 1}', '{"api_key": "[masked]", "x": 1}'),
        (r'{"text": "{\"Authorization\": \"Bearer abc\"}"}', r'{"text": "{\"Authorization\": \"[masked]\"}"}'),
        ("my key is sk-lan-12345678, ok?", "my key is [masked], ok?"),
        ("Bearer abcdefgh12345678", "[masked]"),
        ("the bearer of this letter, basic principles", "the bearer of this letter, basic principles"),
        ('{"token": "Hello"}', '{"token": "Hello"}'),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, shown: str) -> None:
    assert masked(text.encode()) == shown


async def test_bodies_are_bounded_in_number_and_bytes() -> None:
    bodies = Bodies(BodyLimits(count=3, total=100, each=40))
    bodies.enable(60)
    assert bodies.tap is not None

    async def nowhere(message: Any) -> None:
        pass

    for number in range(5):
        send = bodies.tap(f"r{number}", b"q" * 50, nowhere)
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"a" * 20})
    count, size = bodies.size
    assert (count, size) == (1, 80)
    last = bodies.get("r4")
    assert last is not None
    assert last.as_json() == {"request": "q" * 40, "response": "a" * 40, "truncated": True}
    bodies.disable()
    assert bodies.size == (0, 0)
