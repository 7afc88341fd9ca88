"""What a key may use, and how much of it, in every dialect; on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.events import Failure
from lanhaven.keys.key import KeyScope, Limits, Terms
from lanhaven.keys.store import FILE_NAME, KeyStore
from tests.dialects.lmstudio.frames import frames
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "a-key-that-is-long-enough"
MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, aliases: [first]}
  - {id: beta, provider: mock, enabled: true}
  - {id: beta-embed, provider: mock, enabled: true, config: {kind: embedding}}
"""
SAID = [{"role": "user", "content": "hello there"}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}
ANTHROPIC = {"anthropic-version": "2023-06-01"}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai chat": ("/v1/chat/completions", {"messages": SAID}),
    "openai stream": ("/v1/chat/completions", {"messages": SAID, "stream": True}),
    "openai completion": ("/v1/completions", {"prompt": "hello"}),
    "responses": ("/v1/responses", {"input": "hello"}),
    "anthropic": ("/v1/messages", {"messages": SAID, "max_tokens": 9}),
    "ollama chat": ("/api/chat", {"messages": SAID, "stream": False}),
    "ollama stream": ("/api/generate", {"prompt": "hello"}),
    "lmstudio v0": ("/api/v0/chat/completions", {"messages": SAID}),
    "lmstudio v1": ("/api/v1/chat", {"input": "hello"}),
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path, MODELS, key=KEY, lmstudio_guests=()) as house:
        yield house


def made_in(folder: Path, name: str, *, lmstudio: bool = False, **terms: Any) -> str:
    return KeyStore(folder / FILE_NAME).add(name, {KeyScope.INFERENCE}, terms=Terms(**terms), lmstudio=lmstudio)


@pytest.fixture
async def bound(tmp_path: Path) -> AsyncIterator[tuple[House, dict[str, str]]]:
    """With the headers of a key for beta and one that may ask once a minute."""
    (tmp_path / "config").mkdir()
    beta = made_in(tmp_path / "config", "kids", models=("beta*",))
    once = made_in(tmp_path / "config", "once", limits=Limits(requests_per_minute=1))
    async with serving(tmp_path, MODELS, key=KEY, lmstudio_guests=()) as house:
        yield house, {"kids": beta, "once": once}


async def ask(house: House, key: str, path: str, body: dict[str, Any]) -> httpx2.Response:
    return await house.http.post(path, json=body, headers={"X-API-Key": key, **ANTHROPIC})


async def test_a_key_uses_its_models_in_every_dialect(bound: tuple[House, dict[str, str]]) -> None:
    house, keys = bound
    for name, (path, body) in REQUESTS.items():
        good = await ask(house, keys["kids"], path, {"model": "beta", **body})
        assert good.status_code == 200, f"{name}: {good.text}"
        for other in ("alpha", "first"):
            refused = await ask(house, keys["kids"], path, {"model": other, **body})
            assert refused.status_code == 403, f"{name}: {refused.text}"
            assert f"kids may not use the model {other}:" in refused.text, name
            assert "beta*" in refused.text, name
    assert "alpha" not in house.services.pool.ids().values()  # nothing was loaded for it
    unnamed = await ask(house, keys["kids"], "/v1/embeddings", {"model": "beta-embed", "input": "x"})
    assert unnamed.status_code == 200
    refused = await ask(house, keys["kids"], "/api/chat", {"model": "alpha", "messages": []})  # Ollama's way to load
    assert refused.status_code == 403
    assert {each.code for each in house.named(Failure)} == {"forbidden"}


async def test_without_a_name_the_active_model_is_meant_and_judged(bound: tuple[House, dict[str, str]]) -> None:
    house, keys = bound
    refused = await ask(house, keys["kids"], "/v1/chat/completions", {"messages": SAID})
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("permission_error", "forbidden", "model")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "alphb", "messages": SAID}),
        ("/v1/chat/completions", {"model": "betta", "messages": SAID}),
        ("/v1/chat/completions", {"model": "beta-embed", "messages": SAID}),
        ("/v1/chat/completions", {"model": "first", "messages": SAID}),
        ("/v1/chat/completions", {"messages": SAID}),
        ("/v1/chat/completions", {"model": "beta", "messages": [{"role": "user", "content": [PICTURE]}]}),
        ("/v1/messages", {"model": "alphb", "messages": SAID, "max_tokens": 9}),
        ("/v1/messages", {"model": "first", "messages": SAID, "max_tokens": 9}),
        ("/v1/responses", {"model": "first", "input": "hello"}),
        ("/api/chat", {"model": "alphb", "messages": SAID}),
        ("/api/show", {"model": "first"}),
        ("/api/v0/chat/completions", {"model": "alphb", "messages": SAID}),
        ("/api/v0/chat/completions", {"model": "first", "messages": SAID}),
        ("/api/v1/chat", {"model": "alphb", "input": "hello"}),
        ("/api/v1/chat", {"model": "first", "input": "hello", "context_length": 4096}),
        ("/api/v1/ai/lmstudio/infer", {"model": "first", "messages": SAID}),
    ],
)
async def test_errors_name_no_model_that_the_key_may_not_use(
    bound: tuple[House, dict[str, str]], path: str, body: dict[str, Any]
) -> None:
    house, keys = bound
    told = await ask(house, keys["kids"], path, body)
    assert told.status_code in (400, 403, 404), told.text
    assert "alpha" not in told.text.replace("alphb", ""), told.text
    assert not house.services.pool.instances()  # nor is one loaded for it


async def test_hints_name_what_the_key_may_use(bound: tuple[House, dict[str, str]]) -> None:
    house, keys = bound
    told = await ask(house, keys["kids"], "/v1/chat/completions", {"model": "betta", "messages": SAID})
    assert "did you mean beta" in told.text
    assert "did you mean alpha" in (await house.chat(model="alphb")).text


async def test_a_key_sees_how_its_own_requests_went(bound: tuple[House, dict[str, str]]) -> None:
    house, keys = bound
    await house.chat(model="alpha")
    await ask(house, keys["kids"], "/v1/chat/completions", {"model": "beta", "messages": SAID})
    seen = {
        who: [
            each["model"]
            for each in (await house.http.get("/v1/performance", headers={"X-API-Key": key})).json()["recent"]
        ]
        for who, key in (("all", KEY), ("kids", keys["kids"]), ("once", keys["once"]))
    }
    assert seen == {"all": ["beta", "alpha"], "kids": ["beta"], "once": []}


def names_in(value: Any) -> Iterator[str]:
    """Every text in a reply."""
    match value:
        case dict():
            for each in value.values():
                yield from names_in(each)
        case list():
            for each in value:
                yield from names_in(each)
        case str():
            yield value


@pytest.mark.parametrize(
    ("path", "anthropic"),
    [
        ("/v1/models", False),
        ("/v1/models", True),
        ("/api/tags", False),
        ("/api/ps", False),
        ("/api/v0/models", False),
        ("/api/v1/models", False),
    ],
)
async def test_lists_show_what_the_key_may_use(bound: tuple[House, dict[str, str]], path: str, anthropic: bool) -> None:
    house, keys = bound
    for model in ("alpha", "beta"):
        loaded = await house.http.post("/admin/models/load", json={"modelKey": model, "instanceId": f"my-{model}"})
        assert loaded.status_code == 200
    for key, sees in ((KEY, True), (keys["kids"], False)):
        reply = await house.http.get(path, headers={"X-API-Key": key, **(ANTHROPIC if anthropic else {})})
        found = set(names_in(reply.json()))
        assert any("beta" in each for each in found)
        assert any("alpha" in each for each in found) is sees, found


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models/alpha", None),
        ("GET", "/v1/models/first", None),
        ("GET", "/api/v0/models/alpha", None),
        ("POST", "/api/show", {"model": "alpha"}),
    ],
)
async def test_one_model_is_shown_to_who_may_use_it(
    bound: tuple[House, dict[str, str]], method: str, path: str, body: Any
) -> None:
    house, keys = bound
    for key, status in ((KEY, 200), (keys["kids"], 403)):
        reply = await house.http.request(method, path, json=body, headers={"X-API-Key": key})
        assert reply.status_code == status, reply.text


async def test_over_the_limit_every_dialect_says_so_in_its_words(bound: tuple[House, dict[str, str]]) -> None:
    house, keys = bound
    assert (await ask(house, keys["once"], *REQUESTS["openai chat"])).status_code == 200
    before = len(house.seen)
    for name, (path, body) in REQUESTS.items():
        refused = await ask(house, keys["once"], path, {"model": "beta", **body})
        assert refused.status_code == 429, f"{name}: {refused.text}"
        assert 1 <= int(refused.headers["retry-after"]) <= 61, name
        assert "one request a minute" in refused.text, name
        error = refused.json()["error"]
        if name == "anthropic":
            assert error["type"] == "rate_limit_error"
        elif isinstance(error, dict):
            assert error["code"] == "rate_limit_exceeded", f"{name}: {error}"
    assert len(house.seen) == before  # nobody was asked
    assert {each.code for each in house.named(Failure)} == {"rate_limit_exceeded"}
    free = ("/v1/models", "/api/tags")
    assert [(await house.http.get(each, headers={"X-API-Key": keys["once"]})).status_code for each in free] == [200] * 2
    counted = await ask(house, keys["once"], "/v1/messages/count_tokens", {"model": "beta", "messages": SAID})
    assert counted.status_code == 200
    assert (await ask(house, KEY, *REQUESTS["openai chat"])).status_code == 200


async def test_a_stream_that_passes_the_limit_of_tokens_is_finished(house: House) -> None:
    secret = (await house.http.post("/admin/keys", json={"name": "short", "limits": {"tokensPerMinute": 5}})).json()[
        "key"
    ]
    body = {"messages": SAID, "stream": True, "mock": {"answer": "count", "tokens": 30}}
    reply = await ask(house, secret, "/v1/chat/completions", body)
    assert reply.status_code == 200
    assert "tok29" in reply.text
    assert reply.text.rstrip().endswith("data: [DONE]")
    refused = await ask(house, secret, "/v1/chat/completions", {"messages": SAID})
    assert refused.status_code == 429
    assert "5 tokens a minute" in refused.json()["error"]["message"]


async def used_by(house: House, name: str) -> dict[str, int]:
    keys = (await house.http.get("/admin/keys")).json()["keys"]
    found: dict[str, int] = next(each["used"] for each in keys if each["name"] == name)
    return found


async def test_tokens_count_also_where_the_client_leaves_or_the_stream_breaks(house: House) -> None:
    secret = (await house.http.post("/admin/keys", json={"name": "short"})).json()["key"]
    mine = {"X-API-Key": secret}
    asked = [{"role": "user", "content": "word " * 80}]
    breaks = {"answer": "count", "tokens": 30, "do": "rst", "at": 20}
    reply = await ask(house, secret, "/v1/chat/completions", {"messages": asked, "stream": True, "mock": breaks})
    assert "error" in reply.text
    (broken,) = house.named(Failure)
    assert 17 <= broken.usage.completion_tokens <= 20
    assert 80 <= broken.usage.prompt_tokens <= 120  # by its length
    assert (await used_by(house, "short"))["tokensPerDay"] == broken.usage.total_tokens

    goes_on = {"answer": "count", "tokens": 10_000, "interval": 0.005}
    body = {"messages": asked, "stream": True, "mock": goes_on}
    async with house.http.stream("POST", "/v1/chat/completions", json=body, headers=mine) as stream:
        async for line in stream.aiter_lines():
            if "tok5" in line:
                break
    await house.until(lambda: len(house.named(Failure)) == 2)
    left = house.named(Failure)[1]
    assert left.cancelled
    assert 3 <= left.usage.completion_tokens < 1000
    assert (await used_by(house, "short"))["tokensPerDay"] == broken.usage.total_tokens + left.usage.total_tokens


async def test_what_never_began_costs_no_tokens(house: House) -> None:
    reply = await house.chat(stream=True, mock={"do": "rst", "at": -1})
    assert reply.status_code >= 500
    assert {each.usage.total_tokens for each in house.named(Failure)} == {0}


async def test_over_a_websocket_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    terms = {"models": ("beta*",), "limits": Limits(requests_per_minute=1)}
    token = made_in(tmp_path / "config", "phone", lmstudio=True, **terms)
    who, word = token.removeprefix("sk-lm-").split(":")
    async with serving(tmp_path, MODELS, key=KEY, lmstudio_guests=()) as house:
        async with frames(house.url, "system", identifier=who, passkey=word) as client:
            assert [each["modelKey"] for each in await client.result("listDownloadedModels")] == ["beta", "beta-embed"]
        async with frames(house.url, identifier=who, passkey=word) as client:
            load: dict[str, Any] = {"loadConfigStack": {"layers": []}}
            refused = await client.channel("getOrLoad", {"identifier": "alpha", **load})
            assert "phone may not use the model alpha" in json.dumps(refused)
            assert (await client.channel("getOrLoad", {"identifier": "beta", **load}))[-1]["type"] == "loadSuccess"
            asked = {
                "modelSpecifier": {"type": "query", "query": {"identifier": "beta"}},
                "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
                "predictionConfigStack": {"layers": []},
            }
            assert (await client.channel("predict", asked))[-1]["type"] == "success"
            refused = await client.channel("predict", asked)
            assert "one request a minute" in json.dumps(refused)
            KeyStore(tmp_path / "config" / FILE_NAME).revoke("phone")
            async with asyncio.timeout(60):
                while "Unauthorized" not in json.dumps(refused):  # within a second, also on a connection that is open
                    refused = await client.channel("predict", asked)
            assert "Unauthorized" in json.dumps(await client.call("listLoaded"))


async def batched(house: House, key: str, models: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The counts of a batch with a question to each model, and its file of errors."""
    mine, url = {"X-API-Key": key}, "/v1/chat/completions"
    bodies = [{"model": model, "messages": SAID} for model in models]
    lines = [{"custom_id": str(n), "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies)]
    data = "".join(json.dumps(each) + "\n" for each in lines).encode()
    files = {"purpose": (None, "batch"), "file": ("a.jsonl", data)}
    file = (await house.http.post("/v1/files", files=files, headers=mine)).json()["id"]
    order = {"input_file_id": file, "endpoint": url, "completion_window": "24h"}
    batch = (await house.http.post("/v1/batches", json=order, headers=mine)).json()
    while batch["status"] not in ("completed", "failed"):
        batch = (await house.http.get(f"/v1/batches/{batch['id']}", headers=mine)).json()
    return batch["request_counts"], (
        await house.http.get(f"/v1/files/{batch['error_file_id']}/content", headers=mine)
    ).text


async def test_a_batch_runs_with_the_rights_of_its_key(bound: tuple[House, dict[str, str]]) -> None:
    house, keys = bound
    counts, wrong = await batched(house, keys["kids"], ("alpha", "beta"))
    assert counts == {"total": 2, "completed": 1, "failed": 1}
    assert "kids may not use the model alpha" in wrong


async def test_a_batch_does_not_wait_for_tomorrow(house: House) -> None:
    made = await house.http.post("/admin/keys", json={"name": "daily", "limits": {"requestsPerDay": 1}})
    counts, wrong = await batched(house, made.json()["key"], ("beta", "beta", "beta"))
    assert counts == {"total": 3, "completed": 1, "failed": 2}
    assert "one request a day" in wrong


async def test_a_key_is_good_in_its_networks_and_until_its_end(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    here = made_in(tmp_path / "config", "here", networks=("127.0.0.0/8",))
    elsewhere = made_in(tmp_path / "config", "elsewhere", networks=("192.168.1.0/24",))
    async with serving(tmp_path, MODELS, key=KEY) as house:
        assert (await house.http.get("/v1/models", headers={"X-API-Key": here})).status_code == 200
        refused = await house.http.get("/v1/models", headers={"X-API-Key": elsewhere})
        assert refused.status_code == 403
        assert "192.168.1.0/24" in refused.json()["error"]["message"]
        assert (await house.http.get("/health", headers={"X-API-Key": elsewhere})).status_code == 200
