"""Another LanHaven as the server: what it says of its models, its errors, and circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.engines.scripted import Fault, ScriptedServer
from lanhaven.providers.base import ModelEntry
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

THERE = """\
models:
  - id: chat
    provider: mock
    config: {context_length: 4096}
  - id: vectors
    provider: mock
    config: {kind: embedding}
  - {id: far, provider: openai, config: {base_url: "http://127.0.0.1:9", context_length: 8192, kind: vlm}}
"""


def pointing_at(url: str, name: str = "chat") -> ModelEntry:
    return ModelEntry(name, "openai", config={"base_url": url})


def hosts(**said: object) -> dict[str, object]:
    return {"openai": {"hosts": said, "list_every": 0.01}}


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    return made


def keys(house: House) -> list[str]:
    return [each.key for each in house.services.catalog.models()]


async def test_its_models_come_with_what_it_knows_of_them(tmp_path: Path) -> None:
    async with serving(folder(tmp_path, "b"), THERE) as there:
        await there.chat("loaded", model="chat")
        async with serving(folder(tmp_path, "a"), "models: []\n", providers=hosts(den=there.url)) as here:
            listed = {each.key: each for each in here.services.catalog.models() if each.provider == "openai"}
            own = {each.key: each for each in there.services.catalog.models()}
            assert set(listed) == set(own)
            for key in ("chat", "vectors", "far"):
                found, known = listed[key], own[key]
                assert (found.kind, found.max_context, found.capabilities) == (
                    known.kind,
                    known.max_context,
                    known.capabilities,
                )
                assert f"den/{key}" in found.aliases
            assert (await here.chat("hi", model="chat")).status_code == 200
            reply = await here.http.post("/v1/embeddings", json={"model": "den/vectors", "input": "a"})
            assert reply.status_code == 200


async def test_its_errors_keep_their_advice(tmp_path: Path) -> None:
    async with serving(folder(tmp_path, "b"), THERE) as there:
        options = hosts(den=there.url)
        async with serving(folder(tmp_path, "a"), "models: []\n", providers=options) as here:
            long = await here.chat("word " * 9000, model="chat")
            assert long.status_code == 400
            assert long.json()["error"]["code"] == "context_length_exceeded"
            assert long.json()["error"]["n_ctx"] == 4096
            await there.services.gateway.unload("chat")
            await there.services.catalog.replace([])
            await there.services.catalog.ask()
            gone = await here.chat("hi", model="chat")
            assert gone.status_code == 503
            assert "does not have model 'chat' (any more)" in gone.json()["error"]["message"]


async def test_what_it_was_told_of_by_others_it_does_not_tell(tmp_path: Path) -> None:
    async with ScriptedServer() as far, serving(folder(tmp_path, "b"), THERE, providers=hosts(far=far.base_url)) as b:
        assert "mock" in keys(b)
        async with serving(folder(tmp_path, "a"), "models: []\n", providers=hosts(b=b.url)) as a:
            assert "far" in keys(a), "an entry of models.yaml is its own"
            assert all("far/" not in each and each != far.model.name for each in keys(a) if each != "mock")
            for_people = [each["id"] for each in (await b.http.get("/v1/models")).json()["data"]]
            assert far.model.name in for_people


async def test_one_that_points_at_itself_refuses(tmp_path: Path) -> None:
    async with serving(tmp_path, "models: []\n") as house:
        await house.services.catalog.replace([pointing_at(house.url)])
        reply = await house.chat("hi", model="chat")
        assert reply.status_code == 508
        error = reply.json()["error"]
        assert error["code"] == "request_loop"
        assert "send requests to each other in a circle. Try: correct the address of chat" in error["message"]
        assert reply.headers["x-should-retry"] == "false"


async def test_two_that_point_at_each_other_refuse(tmp_path: Path) -> None:
    async with serving(folder(tmp_path, "a"), "models: []\n") as a, serving(folder(tmp_path, "b"), "models: []\n") as b:
        await a.services.catalog.replace([pointing_at(b.url)])
        await b.services.catalog.replace([pointing_at(a.url)])
        reply = await a.chat("hi", model="chat")
        assert (reply.status_code, reply.json()["error"]["code"]) == (508, "request_loop")
        streamed = await a.chat("hi", model="chat", stream=True)
        assert streamed.status_code == 508
        starts = [each for each in (*a.events, *b.events) if each.name == "inference_start"]
        assert len(starts) == 6, "there and back once, each time"


async def test_a_chain_is_no_circle(tmp_path: Path) -> None:
    async with (
        ScriptedServer() as end,
        serving(folder(tmp_path, "a"), "models: []\n") as a,
        serving(folder(tmp_path, "b"), "models: []\n") as b,
    ):
        await a.services.catalog.replace([pointing_at(b.url)])
        await b.services.catalog.replace([pointing_at(str(end.base_url))])
        assert (await a.chat("hi", model="chat")).status_code == 200
        way = end.requests[-1].headers["via"]
        assert way.count("1.1 lanhaven-") == 2
        end.script(Fault(status=503))
        assert (await a.chat("hi", model="chat")).status_code == 503


async def test_engines_of_ours_hear_nothing_of_the_way(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = {"model": "alpha", "messages": [{"role": "user", "content": "hi"}]}
        via = {"via": "1.1 nginx, 1.1 lanhaven-0123456789ab"}
        assert (await house.http.post("/v1/chat/completions", json=body, headers=via)).status_code == 200
        assert "via" not in house.seen[-1].headers
