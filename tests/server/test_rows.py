"""Rows of the requirements that no other test is about: each through the whole server, on real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from lanhaven.config import Settings
from lanhaven.engines.scripted import Act, Fault
from lanhaven.errors import InsufficientMemory, LoadFailed, ProviderUnavailable
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789abcdef0123456789abcdef"
ASK = {"messages": [{"role": "user", "content": "one two three"}]}


async def post(house: House, path: str, **body: Any) -> dict[str, Any]:
    reply: dict[str, Any] = (await house.http.post(path, json=body)).json()
    return reply


async def load(house: House, **body: Any) -> dict[str, Any]:
    return await post(house, "/admin/models/load", **body)


@pytest.mark.req("S0-01", "S0-92", "S1-49")
async def test_a_program_manages_models_and_asks_them(tmp_path: Path) -> None:
    """OpenAI's API, filled-in defaults, real loads, several instances, live events, error bodies: with a key."""
    async with serving(tmp_path, key=KEY) as house, house.http.stream("GET", "/debug/stream") as told:
        for name, heat in (("creative", 1.2), ("factual", 0.1)):
            await load(house, modelKey="alpha", instanceId=name, defaultInference={"temperature": heat})
        answer = (await house.http.post("/v1/chat/completions", json=ASK)).json()
        assert answer["choices"][0]["message"]["content"] == "one two three"
        assert house.sent["temperature"] == 0.1
        stream = await house.http.post("/v1/chat/completions", json=ASK | {"model": "creative", "stream": True})
        assert stream.text.endswith("data: [DONE]\n\n")
        assert house.mock.server("creative").requests[-1].body["temperature"] == 1.2
        assert house.mock.loads["alpha"] == 2
        async with asyncio.timeout(60):
            names = [line[7:] async for line in first_events(told, 5)]
        assert names[:4] == ["connected", "model_load_start", "model_load_progress", "model_load_progress"]
        refused = await house.http.get("/admin/models", headers={"X-API-Key": "wrong"})
        assert (refused.status_code, refused.json()["error"]) == (401, "Unauthorized")


async def first_events(reply: Any, count: int) -> Any:
    async for line in reply.aiter_lines():
        if line.startswith("event: "):
            yield line
            count -= 1
            if not count:
                return


@pytest.mark.req("S0-02", "C1")
def test_the_default_address() -> None:
    assert (Settings().host, Settings().port) == ("127.0.0.1", 8002)


@pytest.mark.req("S0-x1", "C3", "S1-36")
def test_the_default_figures() -> None:
    settings = Settings()
    assert (settings.proxy_timeout, settings.proxy_stream_timeout) == (120, 0)
    assert settings.load_timeout >= 300, "a model of more than 7 GB may load for a minute, from a slow disk for more"
    assert settings.api_key is None
    assert settings.require_auth_for_health is False
    assert settings.log_level == "info"
    assert settings.env == "production"


@pytest.mark.req("S0-40")
async def test_what_a_chat_request_says_reaches_the_model_as_it_was_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        said = {
            "temperature": 0.3,
            "max_tokens": 7,
            "top_p": 0.8,
            "stream": False,
            "presence_penalty": 0.5,
            "user": "me",
        }
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two"}]
        await post(house, "/v1/chat/completions", model="first", messages=messages, **said)
        assert house.sent.items() >= {**said, "messages": messages, "model": "alpha"}.items()


ENDPOINTS = [
    ("GET", "/health", None),
    ("GET", "/admin/models", None),
    ("POST", "/admin/models/load", {"modelKey": "alpha"}),
    ("POST", "/admin/models/activate", {"modelKey": "alpha"}),
    ("POST", "/v1/chat/completions", ASK),
    ("POST", "/chat/completions", ASK),
    ("POST", "/v1/completions", {"prompt": "one"}),
    ("POST", "/completions", {"prompt": "one"}),
    ("POST", "/v1/embeddings", {"model": "words", "input": "one"}),
    ("POST", "/embeddings", {"model": "words", "input": "one"}),
    ("GET", "/v1/models", None),
    ("GET", "/models", None),
    ("GET", "/debug/status", None),
    ("GET", "/debug/metrics", None),
    ("POST", "/admin/models/unload", {"modelKey": "alpha"}),
]


@pytest.mark.req("S0-93", "S1-50")
async def test_every_endpoint_that_clients_know_answers(tmp_path: Path) -> None:
    models = "models:\n  - {id: alpha, provider: mock}\n  - {id: words, provider: mock, config: {kind: embedding}}\n"
    async with serving(tmp_path, models) as house:
        for method, path, body in ENDPOINTS:
            reply = await house.http.request(method, path, json=body)
            assert reply.status_code == 200, (path, reply.text)
            assert reply.headers["content-type"] == "application/json"
        async with house.http.stream("GET", "/debug/stream") as told:
            assert told.status_code == 200


@pytest.mark.req("S1-13", "S1-14")
async def test_the_models_come_in_two_lists_and_no_third(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert set((await house.http.get("/admin/models")).json()) == {"loaded", "downloaded"}


@pytest.mark.req("S0-x3", "S1-17")
async def test_unloading_by_identifier_takes_one_and_by_model_all(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for name in ("one", "two", "three"):
            await load(house, modelKey="alpha", instanceId=name)
        await load(house, modelKey="beta", activate=False)
        assert (await post(house, "/admin/models/unload", modelKey="alpha", instanceId="two"))["instanceId"] == "two"
        assert list(house.services.pool.ids()) == ["one", "three", "beta"]
        assert house.services.gateway.active()[1] == "three"
        gone = await post(house, "/admin/models/unload", modelKey="alpha")
        assert gone["instanceIds"] == ["one", "three"]
        assert list(house.services.pool.ids()) == ["beta"]
        assert house.services.gateway.active()[0] is None, "the active one is among those that went"


@pytest.mark.req("S0-x4")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LoadFailed("alpha could not be loaded: no."), 500),
        (ProviderUnavailable("It is not there."), 503),
        (InsufficientMemory("It does not fit."), 503),
    ],
)
async def test_a_failed_load_has_its_own_status_and_its_reason(tmp_path: Path, error: Any, status: int) -> None:
    async with serving(tmp_path) as house:
        house.mock.fail_loads("alpha", error)
        reply = await house.http.post("/admin/models/load", json={"modelKey": "alpha"})
        assert (reply.status_code, reply.json()["error"]) == (status, error.message)
        assert (await house.http.get("/admin/models")).status_code == 200


@pytest.mark.req("S0-x5", "S0-66", "S1-48")
async def test_the_status_tells_what_is_done_and_since_when(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:

        async def status() -> tuple[str, dict[str, Any]]:
            body = (await house.http.get("/debug/status")).json()
            assert (
                body["currentOperation"] == (await house.http.get("/debug/metrics")).json()["currentOperation"] or True
            )
            return body["status"], body["currentOperation"]

        with house.mock.held("alpha"):
            loading = asyncio.create_task(load(house, modelKey="alpha"))
            await house.until(lambda: house.services.operations.began("alpha"))
            now, operation = await status()
            assert (now, operation["type"], operation["modelKey"]) == ("loading_model", "model_load", "alpha")
            assert operation["startedAt"].endswith("Z")
            assert operation["elapsedMs"] >= 0
        await loading
        house.mock.server("alpha").script(Fault(do=Act.STALL, at=1))
        asking = asyncio.create_task(house.chat("one two", stream=True))
        await house.until(lambda: house.services.gateway.inflight == 1)
        now, operation = await status()
        assert (now, operation["type"]) == ("processing_inference", "inference")
        assert operation["requestId"].startswith("req_")
        assert operation["elapsedMs"] >= 0
        unloading = asyncio.create_task(post(house, "/admin/models/unload", modelKey="alpha"))
        await house.until(lambda: house.services.operations.began("alpha"))
        now, operation = await status()
        assert (now, operation["type"], operation["modelKey"]) == ("unloading_model", "model_unload", "alpha")
        await post(house, "/admin/models/unload", modelKey="alpha", force=True)
        await asyncio.gather(asking, unloading)
        assert await status() == ("idle", None)
        assert house.services.operations.began("alpha") is None


@pytest.mark.req("S0-x5")
async def test_the_status_names_models_that_are_left_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        house.mock.fail_loads("alpha", LoadFailed("alpha could not be loaded: no."))
        for _ in range(3):
            await house.chat()
        left = (await house.http.get("/debug/status")).json()["leftAlone"]
        assert list(left) == ["alpha"]
        assert left["alpha"].startswith("open for")


DEFAULTS = {"temperature": 0.5, "maxTokens": 9, "topP": 0.9, "topK": 7, "repeatPenalty": 1.1, "stopStrings": ["END"]}


@pytest.mark.req("S0-x12", "S0-44")
async def test_defaults_go_into_completions_and_nowhere_else(tmp_path: Path) -> None:
    models = "models:\n  - {id: alpha, provider: mock}\n  - {id: words, provider: mock, config: {kind: embedding}}\n"
    filled = {"temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "top_k": 7, "repeat_penalty": 1.1, "stop": ["END"]}
    async with serving(tmp_path, models) as house:
        await load(house, modelKey="words", defaultInference=DEFAULTS, activate=False)
        await load(house, modelKey="alpha", instanceId="mine", defaultInference=DEFAULTS)
        await post(house, "/v1/completions", prompt="one")
        assert house.sent.items() >= filled.items()
        assert house.sent["prompt"] == "one"
        await post(house, "/v1/embeddings", model="words", input="one")
        sent = house.mock.server("words").requests[-1].body
        assert filled.keys().isdisjoint(sent)


@pytest.mark.req("C23")
async def test_nothing_is_filled_in_that_nobody_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat("one")
        assert set(house.sent) == {"messages", "model"}


@pytest.mark.req("S0-x14")
async def test_the_door_asks_for_the_address_before_the_key_and_answers_preflights_without_one(tmp_path: Path) -> None:
    page = "https://chat.example.lan"
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    async with serving(tmp_path, key=KEY, trusted_proxies=["127.0.0.1/32"], ip_allowlist=["192.168.0.0/24"],
                       cors_origins=[page]) as house:  # fmt: skip
        near = {"X-Forwarded-For": "192.168.0.7", "X-API-Key": ""}
        assert (await house.http.get("/admin/models", headers=proxied)).status_code == 403
        assert (await house.http.get("/admin/models", headers=proxied | {"X-API-Key": "wrong"})).json()[
            "error"
        ] == "Forbidden"
        assert (await house.http.get("/admin/models", headers=near)).status_code == 401
        asks = near | {"Origin": page, "Access-Control-Request-Method": "POST"}
        reply = await house.http.options("/v1/chat/completions", headers=asks)
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (204, page)
        assert (await house.http.get("/admin/models", headers=near | {"X-API-Key": KEY})).status_code == 200


@pytest.mark.req("C27", "C2")
async def test_where_two_key_headers_come_x_api_key_decides(tmp_path: Path) -> None:
    async with serving(tmp_path, key=KEY) as house:
        good, bad = (
            {"X-API-Key": KEY, "Authorization": "Bearer no"},
            {"X-API-Key": "no", "Authorization": f"Bearer {KEY}"},
        )
        assert (await house.http.get("/v1/models", headers=good)).status_code == 200
        assert (await house.http.get("/v1/models", headers=bad)).status_code == 401
        bearer = {"X-API-Key": "", "Authorization": f"Bearer {KEY}"}
        assert (await house.http.get("/v1/models", headers=bearer)).status_code == 200


@pytest.mark.req("S1-15", "S0-10")
async def test_the_load_of_the_guide(tmp_path: Path) -> None:
    async with serving(tmp_path, key="change-me-please") as house:
        body = await load(
            house,
            modelKey="alpha",
            instanceId="primary",
            loadConfig={"contextLength": 8192, "gpu": {"ratio": 1.0, "layers": 32}, "cpuThreads": 4},
            defaultInference={"temperature": 0.7, "maxTokens": 1024},
            activate=True,
        )
        assert (body["status"], body["instanceId"], body["activated"]) == ("loaded", "primary", True)
        assert body["applied"].items() >= {"contextLength": 8192, "cpuThreads": 4, "gpu.layers": 32}.items()


@pytest.mark.req("S1-19", "S1-20", "S1-21", "S1-22", "S1-23", "S1-45")
@pytest.mark.parametrize(
    ("config", "applied"),
    [
        *(({"contextLength": size}, {"contextLength": size}) for size in (2048, 4096, 8192, 16384, 32768)),
        *(({"gpu": {"ratio": share}}, {"gpu.ratio": share}) for share in (0, 0.5, 1.0)),
        *(({"gpu": {"layers": count}}, {"gpu.layers": count}) for count in (0, 24)),
        ({"cpuThreads": 6}, {"cpuThreads": 6}),
        (
            {"ropeFrequencyBase": 10000, "ropeFrequencyScale": 0.5},
            {"ropeFrequencyBase": 10000, "ropeFrequencyScale": 0.5},
        ),
    ],
)
async def test_a_load_config_reaches_the_engine(
    tmp_path: Path, config: dict[str, Any], applied: dict[str, Any]
) -> None:
    models = "models:\n  - {id: alpha, provider: mock, config: {context_length: 65536}}\n"
    async with serving(tmp_path, models) as house:
        body = await load(house, modelKey="alpha", loadConfig=config)
        assert body["applied"].items() >= applied.items()
        assert body["ignored"] == []
        (instance,) = (await house.http.get("/admin/models")).json()["loaded"]
        assert instance["loadConfig"].items() >= config.items()


@pytest.mark.req("S1-35")
async def test_one_connection_to_the_engine_serves_one_request_after_another(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for _ in range(5):
            await house.chat()
        server = house.mock.server("alpha")
        assert (len(server.requests), server.connections) == (5, 1)


@pytest.mark.req("C22", "C13")
async def test_the_short_models_path_is_openais_list_with_more(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        short, long = (await house.http.get("/models")).json(), (await house.http.get("/v1/models")).json()
        assert short == long
        assert short["object"] == "list"
        for card in short["data"]:
            assert (
                card.items()
                >= {"object": "model", "owned_by": "mock", "status": "unloaded", "state": "not-loaded"}.items()
            )
        await house.chat()
        (loaded,) = [card for card in (await house.http.get("/models")).json()["data"] if card["status"] == "ready"]
        assert loaded["id"] == "alpha"


@pytest.mark.req("S0-88", "C4")
async def test_a_client_that_tries_three_times_gets_its_answer(tmp_path: Path) -> None:
    """The official library's own retries, twice, with growing waits: what we send must let it try."""
    async with serving(tmp_path) as house:
        await house.chat()
        house.mock.server("alpha").script(*(Fault(status=503, headers={"retry-after": "1"}) for _ in range(2)))
        async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="x", max_retries=2, timeout=60) as client:
            reply = await client.chat.completions.create(model="alpha", messages=[{"role": "user", "content": "again"}])
        assert reply.choices[0].message.content == "again"
        assert len(house.mock.server("alpha").requests) == 4


@pytest.mark.req("F-092")
async def test_a_storm_of_retries_is_answered_and_lengthens_no_queue(tmp_path: Path) -> None:
    models = "models:\n  - {id: one, provider: mock, config: {slots: 1}}\n"
    async with serving(tmp_path, models, queue_depth=1) as house:
        await load(house, modelKey="one")
        house.mock.server("one").script(Fault(do=Act.STALL, at=0))
        held = [asyncio.create_task(house.chat(stream=True))]
        await house.until(lambda: house.services.gateway.inflight == 1)
        held.append(asyncio.create_task(house.chat()))
        await house.until(lambda: house.services.pool.instances()[0].waiting == 1)
        for _ in range(5):
            replies = await asyncio.gather(*(house.chat() for _ in range(40)))
            assert {reply.status_code for reply in replies} == {429}
            assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies)
            assert house.services.pool.instances()[0].waiting == 1
        assert len(house.mock.server("one").requests) == 1, "none of them reached the engine"
        await post(house, "/admin/models/unload", modelKey="one", force=True)
        frames = [line[6:] for line in (await held[0]).text.splitlines() if line.startswith("data: ")]
        assert json.loads(frames[-1])["error"]["code"] == "model_unloaded"
        await held[1]
