"""A whole LanHaven in front of a scripted LM Studio: management over its WebSocket, inference over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lanhaven.events import ModelLoadComplete, ModelLoadProgress, ModelLoadStart, ModelUnloadComplete, ModelUnloadStart
from lanhaven.server.steady import keep_current
from tests.lmstudio.studio import CHAT, EMBEDDING, SEEING, Studio
from tests.providers.lmstudio.case import NOT_REACHED
from tests.serving import House, serving

pytestmark = pytest.mark.anyio
MODELS = "models:\n  - {id: local, provider: mock, enabled: true}\n"
SAYING = [{"role": "user", "content": "hi"}]
FAST = {"lmstudio": {"retry_delay": 0, "connect_timeout": 1}}


@dataclass
class Both:
    """The house, and the LM Studio behind it."""

    house: House
    studio: Studio

    async def admin(self, what: str, **body: Any) -> tuple[int, dict[str, Any]]:
        reply = await self.house.http.post(f"/admin/models/{what}", json=body)
        return reply.status_code, reply.json()

    async def listed(self) -> dict[str, str]:
        reply = await self.house.http.get("/admin/models")
        return {each["identifier"]: each["path"] for each in reply.json()["loaded"]}

    async def sweep(self) -> None:
        await self.house.services.catalog.ask()
        await self.house.services.pool.sweep()

    async def chat(self, name: str | None = None, **fields: Any) -> tuple[int, Any]:
        reply = await self.house.chat(**({"model": name} if name else {}), **fields)
        return reply.status_code, reply.json()


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    async with Studio() as studio, serving(tmp_path, MODELS, lmstudio_base_url=studio.url, providers=FAST) as house:
        yield Both(house, studio)


@pytest.mark.req("S1-02", "S1-03", "S1-04", "S1-15", "S1-16", "S1-18", "S1-28", "S1-29", "S1-31")
async def test_one_call_loads_applies_activates_and_tells(both: Both) -> None:
    status, body = await both.admin(
        "load",
        modelKey=CHAT,
        instanceId="primary",
        loadConfig={"contextLength": 8192, "gpu": {"ratio": 1.0, "layers": 32}, "cpuThreads": 4},
        defaultInference={"temperature": 0.7, "maxTokens": 1024},
        activate=True,
    )
    assert (status, body["status"], body["instanceId"], body["activated"]) == (200, "loaded", "primary", True)
    assert body["applied"] == {"contextLength": 8192, "gpu.ratio": 1.0}
    assert {each["key"] for each in body["ignored"]} == {"gpu.layers", "cpuThreads"}
    fields = both.studio.calls("loadModel")[0]["loadConfigStack"]["layers"][0]["config"]["fields"]
    assert {"key": "llm.load.contextLength", "value": 8192} in fields
    status, answer = await both.chat()
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "hello from primary")
    sent, _ = both.studio.chats[-1]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("primary", 0.7, 1024)
    (started,), (done,) = both.house.named(ModelLoadStart), both.house.named(ModelLoadComplete)
    assert (started.instance_id, done.load_config.context_length, done.activated) == ("primary", 8192, True)
    assert [each.progress for each in both.house.named(ModelLoadProgress) if each.stage == "loading"] == [0.0, 0.5, 1.0]


@pytest.mark.req("S1-05", "S1-06", "S1-40")
async def test_streams_and_embeddings_go_through(both: Both) -> None:
    reply = await both.house.http.post("/chat/completions", json={"model": CHAT, "messages": SAYING, "stream": True})
    frames = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    text = "".join(json.loads(each)["choices"][0]["delta"]["content"] for each in frames[:-1])
    assert (text, frames[-1]) == (f"hello from {CHAT}", "[DONE]")
    reply = await both.house.http.post("/v1/embeddings", json={"model": EMBEDDING, "input": "x"})
    assert reply.json()["data"][0]["embedding"] == [0.1, 0.2]
    assert await both.listed() == {CHAT: CHAT, EMBEDDING: EMBEDDING}


@pytest.mark.req("S1-17", "S1-30", "S1-48")
async def test_an_unload_by_path_finds_the_instance(both: Both) -> None:
    await both.admin("load", modelKey=CHAT, instanceId="primary")
    path = next(each["path"] for each in both.studio.models if each["modelKey"] == CHAT)
    status, body = await both.admin("unload", modelKey=path)
    assert (status, body["status"], body["instanceIds"]) == (200, "unloaded", ["primary"])
    assert not both.studio.loaded
    assert both.house.services.gateway.active()[0] is None
    assert [each.instance_id for each in both.house.named(ModelUnloadStart)] == ["primary"]
    assert [each.instance_id for each in both.house.named(ModelUnloadComplete)] == ["primary"]


@pytest.mark.req("S1-26", "S1-27", "C29")
async def test_what_cannot_be_loaded_is_said_in_known_words(both: Both) -> None:
    status, body = await both.admin("load", modelKey="invalid-model")
    assert (status, body["error"]) == (404, "Model not found: invalid-model")
    await both.admin("load", modelKey=CHAT, instanceId="primary")
    status, body = await both.admin("load", modelKey=CHAT, instanceId="primary", loadConfig={"contextLength": 512})
    assert (status, body["error"]) == (409, f"Model already loaded: {CHAT} (instance: primary)")


@pytest.mark.req("F-023")
async def test_what_people_do_in_lm_studios_window_is_seen_within_a_few_seconds(both: Both) -> None:
    keeping = asyncio.create_task(keep_current(both.house.services, 0.01))
    try:
        both.studio.models.append({**both.studio.models[0], "modelKey": "fresh", "path": "x/fresh"})
        both.studio.load_by_hand("fresh")
        await both.house.until(lambda: "fresh" in both.house.services.pool.ids())
        assert (await both.chat("fresh"))[0] == 200
        both.studio.unload_by_hand("fresh")
        await both.house.until(lambda: not both.house.services.pool.ids())
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert [each.reason for each in both.house.named(ModelUnloadStart)] == ["gone"]


@pytest.mark.req("F-023")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_for_what_was_unloaded_behind_our_back_loads_it_again(both: Both, stream: bool) -> None:
    assert (await both.chat(CHAT))[0] == 200
    both.studio.unload_by_hand(CHAT)
    reply = await both.house.chat(model=CHAT, stream=stream)
    assert reply.status_code == 200
    assert f"from {CHAT}" in reply.text
    assert len(both.studio.calls("loadModel")) == 2
    assert [each.reason for each in both.house.named(ModelUnloadStart)] == ["gone"]


@pytest.mark.req("F-022")
async def test_already_loaded_is_success_and_nothing_is_evicted(both: Both) -> None:
    both.studio.load_by_hand(CHAT)
    both.studio.load_by_hand(SEEING)
    await both.house.services.catalog.ask()
    assert (await both.chat(CHAT))[0] == 200
    assert sorted(both.studio.loaded) == sorted([CHAT, SEEING])
    assert not both.studio.calls("unloadModel")


@pytest.mark.req("S1-11")
async def test_inference_goes_on_while_the_socket_is_refused(both: Both) -> None:
    await both.admin("load", modelKey=CHAT, instanceId="primary")
    both.studio.refuses = 503
    both.studio.hang_up()
    await both.sweep()
    assert (await both.chat("primary"))[0] == 200
    assert await both.listed() == {"primary": CHAT}


@pytest.mark.req("F-020", "S1-25", "S0-76")
async def test_lm_studio_restarts_under_a_stream_and_all_is_well_without_us_restarting(both: Both) -> None:
    await both.admin("load", modelKey=CHAT, instanceId="primary")
    both.studio.stream_gate = asyncio.Event()
    body = {"model": "primary", "messages": SAYING, "stream": True}
    async with both.house.http.stream("POST", "/v1/chat/completions", json=body) as reply:
        await both.studio.streaming.wait()
        await both.studio.kill()
        text = "".join([piece async for piece in reply.aiter_text()])
    assert '"error"' in text
    assert "[DONE]" not in text
    both.studio.stream_gate = None
    assert (await both.chat("primary"))[0] == 503
    status, body = await both.admin("load", modelKey=CHAT, instanceId="second")
    assert (status, body["error"], body["code"]) == (503, NOT_REACHED, "upstream_unreachable")
    await both.sweep()
    assert await both.listed() == {"primary": CHAT}, "unreachable is not empty"
    await both.studio.start()
    await both.sweep()
    assert await both.listed() == {}
    assert (await both.chat(CHAT))[0] == 200
    assert (await both.admin("load", modelKey=CHAT, instanceId="second"))[0] == 200


@pytest.mark.req("S0-76", "S1-25", "S1-44")
async def test_a_start_without_lm_studio_says_so_and_finds_it_later(tmp_path: Path) -> None:
    studio = await Studio().start()
    await studio.kill()
    async with serving(tmp_path, MODELS, lmstudio_base_url=studio.url, providers=FAST) as house:
        both = Both(house, studio)
        status, body = await both.admin("load", modelKey=CHAT)
        assert (status, body["error"]) == (503, NOT_REACHED)
        assert (await both.admin("unload", modelKey=CHAT))[0] == 404
        assert (await both.chat("local"))[0] == 200
        assert house.services.catalog.problems == (f"lmstudio: its models could not be listed: {NOT_REACHED}",)
        await studio.start()
        await both.sweep()
        assert house.services.catalog.problems == ()
        assert (await both.chat(CHAT))[0] == 200
    await studio.kill()


@pytest.mark.req("F-020")
async def test_who_did_not_answer_is_asked_at_every_step(tmp_path: Path) -> None:
    async with Studio() as studio:
        await studio.kill()
        async with serving(tmp_path, MODELS, lmstudio_base_url=studio.url, providers=FAST) as house:
            keeping = asyncio.create_task(keep_current(house.services, 0.01))
            await studio.start()
            await house.until(lambda: house.services.catalog.complete)
            assert house.services.catalog.get(CHAT) is not None
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


@pytest.mark.req("S1-34", "C5")
async def test_health_looks_at_lm_studio(both: Both) -> None:
    body = (await both.house.http.get("/health")).json()
    assert (body["backends"]["lmstudio"]["ok"], body["lmstudio_version"]) == (True, "0.4.7")
    assert both.studio.url not in json.dumps(body)
    await both.studio.kill()
    body = (await both.house.http.get("/health")).json()
    assert (body["backends"]["lmstudio"]["ok"], body["lmstudio_version"]) == (False, None)


async def test_what_others_loaded_is_left_alone_at_the_end(tmp_path: Path) -> None:
    async with Studio() as studio:
        async with serving(tmp_path, MODELS, lmstudio_base_url=studio.url, providers=FAST) as house:
            both = Both(house, studio)
            studio.load_by_hand(SEEING)
            await both.sweep()
            await both.admin("load", modelKey=CHAT)
            assert set(await both.listed()) == {SEEING, CHAT}
        assert list(studio.loaded) == [SEEING]


async def test_where_no_lm_studio_is_configured_none_is_asked(tmp_path: Path) -> None:
    async with Studio() as studio, serving(tmp_path, MODELS) as house:
        both = Both(house, studio)
        await both.sweep()
        body = (await house.http.get("/health")).json()
        assert body["backends"]["lmstudio"]["detail"] == "not configured"
        assert not studio.opened
        assert house.services.catalog.problems == ()


async def test_a_variable_that_points_to_ourselves_is_no_lm_studio(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, lmstudio_base_url="http://localhost:8002") as house:
        body = (await house.http.get("/health")).json()
        assert body["backends"]["lmstudio"]["detail"] == "not configured"


@pytest.mark.req("C25")
async def test_a_model_of_models_yaml_may_be_an_lm_studios(tmp_path: Path) -> None:
    async with Studio() as pc, Studio() as mac:
        entry = f"  - {{id: house-model, provider: lmstudio, enabled: true, config: {{host: mac, model: {CHAT}}}}}\n"
        hosts = {"hosts": {"pc": {"base_url": pc.url}, "mac": {"base_url": mac.url}}}
        async with serving(tmp_path, MODELS + entry, providers={"lmstudio": hosts}, max_loaded_models=5) as house:
            both = Both(house, pc)
            assert (await both.chat("house-model"))[0] == 200
            assert (await both.chat(CHAT))[0] == 200
            assert (await both.chat(f"mac/{SEEING}"))[0] == 200
            assert (list(pc.loaded), sorted(mac.loaded)) == ([CHAT], [SEEING, "house-model"])
