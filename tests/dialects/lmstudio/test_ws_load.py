"""Loading, listing, unloading over LM Studio's WebSocket protocol."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lanhaven.dialects.lmstudio.ws import load as lmstudio_ws_load
from lanhaven.errors import LoadFailed
from lanhaven.types.models import LoadConfig, Sampling
from tests.dialects.lmstudio.frames import MODELS, Frames, frames
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

NOTHING: dict[str, Any] = {"layers": []}
TAKING_TIME = MODELS.replace("aliases: [first]", "aliases: [first], config: {load_seconds: 0.2}")


def stack(**values: Any) -> dict[str, Any]:
    fields = [{"key": f"llm.load.{key}", "value": value} for key, value in values.items()]
    return {"layers": [{"layerName": "apiOverride", "config": {"fields": fields}}]}


def named(identifier: str, **more: Any) -> dict[str, Any]:
    return {"specifier": {"type": "query", "query": {"identifier": identifier}}, **more}


async def load(client: Frames, key: str, **more: Any) -> dict[str, Any]:
    """Load; the info of the instance."""
    packets = await client.channel("loadModel", {"modelKey": key, "loadConfigStack": NOTHING, **more})
    info: dict[str, Any] = packets[-1]["info"]
    return info


async def jit(client: Frames, name: str, **more: Any) -> list[dict[str, Any]]:
    return await client.channel("getOrLoad", {"identifier": name, "loadConfigStack": NOTHING, **more})


def kinds(packets: list[dict[str, Any]]) -> list[str]:
    """Their types, each once."""
    return list(dict.fromkeys(each["type"] for each in packets))


def codes(error: dict[str, Any]) -> str | None:
    code: str | None = error.get("displayData", {}).get("code")
    return code


# ---- loadModel


async def test_a_load_tells_its_real_progress_which_never_falls_and_ends_at_one(tmp_path: Path) -> None:
    async with serving(tmp_path, TAKING_TIME) as house, frames(house.url) as client:
        asked = {
            "modelKey": "alpha",
            "identifier": "mine",
            "ttlMs": 90_000,
            "loadConfigStack": stack(contextLength=512),
        }
        first, *middle, last = await client.channel("loadModel", asked)
    assert first["type"] == "resolved"
    assert first["info"]["modelKey"] == "alpha"
    told = [each["progress"] for each in middle]
    assert {each["type"] for each in middle} == {"progress"}
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(set(told)) > 3
    assert (last["type"], last["info"]["identifier"]) == ("success", "mine")
    assert (last["info"]["contextLength"], last["info"]["ttlMs"]) == (512, 90_000)


async def test_each_load_is_a_new_instance_and_is_numbered(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        assert [(await load(client, "alpha"))["identifier"] for _ in range(3)] == ["alpha", "alpha:2", "alpha:3"]
        await client.call("unloadModel", {"identifier": "alpha"})
        assert (await load(client, "alpha"))["identifier"] == "alpha"


async def test_loads_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    async with serving(tmp_path, TAKING_TIME) as house, frames(house.url) as one, frames(house.url) as two:
        infos = await asyncio.gather(load(one, "alpha"), load(two, "alpha"))
        assert sorted(each["identifier"] for each in infos) == ["alpha", "alpha:2"]


@pytest.mark.req("S1-27")
async def test_a_name_that_is_taken_is_an_error_of_one_line(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        await load(client, "alpha", identifier="mine")
        asked = {"modelKey": "alpha", "identifier": "mine", "loadConfigStack": NOTHING}
        (failed,) = await client.channel("loadModel", asked)
        assert failed == {"error": {"title": "Model with identifier 'mine' already exists"}}
        (failed,) = await client.channel("loadModel", {**asked, "identifier": "beta"})  # another model's name
        assert failed == {"error": {"title": "Model with identifier 'beta' already exists"}}


async def test_what_cannot_be_loaded_is_an_error_that_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        house.mock.fail_loads("beta", LoadFailed("beta could not be loaded: the file is damaged."))
        for asked, code in (("nothing", "generic.pathNotFound"), ("embed", "generic.domainMismatch"), ("beta", None)):
            *_, failed = await client.channel("loadModel", {"modelKey": asked, "loadConfigStack": NOTHING})
            assert codes(failed["error"]) == code, asked
        assert "damaged" in failed["error"]["title"]
        wrong = await client.channel("loadModel", {"modelKey": "alpha", "loadConfigStack": stack(contextLength="long")})
        assert "contextLength" in wrong[-1]["error"]["title"]
        assert "ttlMs" in (await client.channel("loadModel", {"modelKey": "alpha", "ttlMs": -1}))[-1]["error"]["title"]


async def test_a_cancelled_load_is_stopped_and_its_channel_closes(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        with house.mock.held("alpha"):
            number = await client.open("loadModel", {"modelKey": "alpha", "loadConfigStack": NOTHING})
            await house.until(lambda: house.mock.loads["alpha"] == 1)
            await client.send({"type": "channelSend", "channelId": number, "message": {"type": "cancel"}})
            assert all(each["type"] != "success" for each in await client.rest())
        await house.until(lambda: not house.services.pool.ids())
        assert await client.result("listLoaded") == []


async def test_a_load_that_says_nothing_is_heard_of_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmstudio_ws_load, "HEARTBEAT", 0.01)
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        with house.mock.held("alpha"):
            await client.open("loadModel", {"modelKey": "alpha", "loadConfigStack": NOTHING})
            assert (await client.packet())["type"] == "resolved"
            assert [await client.packet() for _ in range(5)] == [{"type": "progress", "progress": 0.0}] * 5
        assert (await client.rest())[-1]["type"] == "success"


# ---- getOrLoad


async def test_what_is_loaded_is_told_and_not_loaded_again(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        first = await jit(client, "alpha", loadTtlMs=5000)
        assert kinds(first) == ["startLoading", "loadProgress", "loadSuccess"]
        assert first[0]["identifier"] == "alpha"
        assert first[-1]["info"]["ttlMs"] == 5000
        (again,) = await jit(client, "ALPHA", loadConfigStack=stack(contextLength=64))
        assert again == {"type": "alreadyLoaded", "info": first[-1]["info"]}
        assert house.mock.loads["alpha"] == 1


async def test_those_who_want_a_cold_model_at_once_share_one_load(tmp_path: Path) -> None:
    async with serving(tmp_path, TAKING_TIME) as house, frames(house.url) as one, frames(house.url) as two:
        first, second = await asyncio.gather(
            jit(one, "alpha"), jit(two, "alpha", loadConfigStack=stack(contextLength=64))
        )
        assert first[-1]["info"]["instanceReference"] == second[-1]["info"]["instanceReference"]
        assert first[0]["type"] == second[0]["type"] == "startLoading"
        assert house.mock.loads["alpha"] == 1


async def test_just_in_time_models_make_room_for_each_other_across_namespaces(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, MODELS, max_loaded_models=1) as house,
        frames(house.url) as llm,
        frames(house.url, "embedding") as embedding,
    ):
        await load(llm, "alpha")
        embed = (await jit(embedding, "embed"))[-1]["info"]
        packets = await jit(llm, "beta")
        assert kinds(packets) == ["unloadingOtherJITModel", "startLoading", "loadProgress", "loadSuccess"]
        assert packets[0]["info"]["instanceReference"] == embed["instanceReference"]
        assert codes(await embedding.error("getModelInfo", named("embed", throwIfNotFound=True))) == (
            "generic.noModelMatchingQuery"
        )
        assert [each["identifier"] for each in await llm.result("listLoaded")] == ["alpha", "beta"]


async def test_a_model_that_waits_for_room_is_said_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmstudio_ws_load, "HEARTBEAT", 0.01)
    slow = MODELS.replace("aliases: [first]", "config: {answer: count, tokens: 2, interval_ms: 150}")
    async with serving(tmp_path, slow, max_loaded_models=1) as house, frames(house.url) as client:
        asked = asyncio.create_task(house.chat(model="alpha", stream=True))
        await house.until(lambda: any(each.leases for each in house.services.pool.instances()))
        types = [each["type"] for each in await jit(client, "beta")]
        await asked
        assert types.index("startLoading") < types.index("unloadingOtherJITModel") < types.index("loadSuccess")
        assert types.count("startLoading") == 1


# ---- which one is meant


@pytest.mark.parametrize(
    "name", ["alpha", "ALPHA", "first", "local/alpha/alpha", "local/AL", "Maker/Seeing-1B", "maker/see"]
)
async def test_a_model_is_found_by_key_alias_and_path_prefix_in_any_case(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        loaded = (await jit(client, name))[-1]["info"]
        assert (await client.result("getModelInfo", named(name, throwIfNotFound=True))) == loaded


async def test_queries_name_what_must_hold_and_references_name_one_load(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        seeing = await load(client, "Maker/Seeing-1B")
        mine = await load(client, "alpha", identifier="mine")
        for query, wanted in (
            ({}, seeing),
            ({"vision": False}, mine),
            ({"path": "Maker"}, seeing),
            ({"path": "local/alpha"}, mine),
            ({"identifier": "mine", "domain": "llm"}, mine),
        ):
            assert await client.result("getModelInfo", {"specifier": {"type": "query", "query": query}}) == wanted
        for query in ({"path": "local/al"}, {"domain": "embedding"}, {"deviceIdentifier": "x"}, {"identifier": "zz"}):
            error = await client.error("getLoadConfig", {"specifier": {"type": "query", "query": query}})
            assert error["displayData"]["query"] == query
        reference = {"specifier": {"type": "instanceReference", "instanceReference": mine["instanceReference"]}}
        assert await client.result("getModelInfo", reference) == mine
        await client.call("unloadModel", {"identifier": "mine"})
        again = await load(client, "alpha", identifier="mine")
        assert again["instanceReference"] != mine["instanceReference"]
        assert codes(await client.error("getLoadConfig", reference)) == "generic.specificModelUnloaded"


async def test_a_namespace_knows_its_own_kind_only(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, MODELS) as house,
        frames(house.url) as llm,
        frames(house.url, "embedding") as embedding,
    ):
        await load(llm, "alpha")
        await load(embedding, "embed")
        assert [each["type"] for each in await llm.result("listLoaded")] == ["llm"]
        (info,) = await embedding.result("listLoaded")
        assert info["type"] == "embedding"
        assert not {"vision", "trainedForToolUse"} & info.keys()
        assert codes(await embedding.error("unloadModel", {"identifier": "alpha"})) == "generic.noModelMatchingQuery"
        config = await embedding.result("getLoadConfig", named("embed"))
        assert config == {"fields": [{"key": "embedding.load.contextLength", "value": 8192}]}


# ---- what is told


async def test_the_ttl_that_holds_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, idle_ttl=1200) as house, frames(house.url) as client:
        assert (await jit(client, "alpha"))[-1]["info"]["ttlMs"] == 1_200_000
        assert (await load(client, "beta"))["ttlMs"] is None


async def test_info_stays_as_it_was_whatever_happens_to_others(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        before = await load(client, "alpha")
        await load(client, "beta")
        await client.call("unloadModel", {"identifier": "beta"})
        assert await client.result("listLoaded") == [before]


async def test_unknown_optional_fields_are_left_out_and_nullable_ones_are_null(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        models = {each["modelKey"]: each for each in await client.result("listDownloadedModels")}
    assert sorted(models) == ["Maker/Seeing-1B", "alpha", "beta", "embed"]  # LM Studio has no word for rerankers
    for each in models.values():
        assert [name for name, value in each.items() if value is None] == ["deviceIdentifier"]
    assert models["Maker/Seeing-1B"] == {
        "type": "llm",
        "modelKey": "Maker/Seeing-1B",
        "format": "gguf",
        "displayName": "Seeing 1B",
        "publisher": "Maker",
        "path": "Maker/Seeing-1B/Seeing-1B",
        "indexedModelIdentifier": "Maker/Seeing-1B/Seeing-1B",
        "deviceIdentifier": None,
        "sizeBytes": 0,
        "maxContextLength": 8192,
        "vision": True,
        "trainedForToolUse": True,
        "paramsString": "1B",
    }


async def test_a_load_config_and_the_defaults_of_an_instance_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        sampling = Sampling(temperature=0.2, top_p=0.9, stop=("END",), max_tokens=7)
        await house.services.gateway.load("alpha", config=LoadConfig(flash_attention=True), sampling=sampling)
        config = await client.result("getLoadConfig", named("alpha"))
        fields = {each["key"]: each["value"] for each in config["fields"]}
        assert fields["llm.load.contextLength"] == 8192
        assert fields["llm.load.llama.flashAttention"] is True
        base = await client.result("getBasePredictionConfig", named("alpha"))
        assert {each["key"].removeprefix("llm.prediction."): each["value"] for each in base["fields"]} == {
            "temperature": 0.2,
            "topPSampling": {"checked": True, "value": 0.9},
            "maxPredictedTokens": {"checked": True, "value": 7},
            "stopStrings": ["END"],
        }


async def busy(house: House) -> asyncio.Task[Any]:
    asked = asyncio.create_task(house.chat(model="alpha", stream=True))
    await house.until(lambda: any(each.leases for each in house.services.pool.instances()))
    return asked


async def test_what_an_instance_is_doing_is_told(tmp_path: Path) -> None:
    slow = MODELS.replace("aliases: [first]", "config: {answer: count, tokens: 3, interval_ms: 100}")
    async with serving(tmp_path, slow) as house, frames(house.url) as client:
        await load(client, "alpha")
        state = named("alpha", throwIfNotFound=True)
        assert await client.result("getInstanceProcessingState", state) == {"status": "idle", "queued": 0}
        asked = await busy(house)
        assert await client.result("getInstanceProcessingState", state) == {"status": "generating", "queued": 0}
        await asked
        absent = await client.call("getInstanceProcessingState", named("zz", throwIfNotFound=False))
        assert "result" not in absent


async def test_what_a_load_would_take_is_told(tmp_path: Path) -> None:
    large = MODELS.replace("aliases: [first]", "config: {size_bytes: 1000000}")
    async with serving(tmp_path, large, memory_budget=500_000) as house, frames(house.url) as client:
        asked = {"modelKey": "alpha", "loadConfigStack": NOTHING}
        estimate = await client.result("estimateModelUsage", asked)
        assert estimate["memory"]["totalBytes"] == 1_000_000
        assert estimate["passesGuardrails"] is False
        asked = {"modelKey": "beta", "loadConfigStack": NOTHING}
        assert (await client.result("estimateModelUsage", asked))["passesGuardrails"] is True


# ---- system


async def test_the_system_namespace(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "system") as client:
        version = await client.result("version")
        assert all(part.isdigit() for part in version["version"].split("."))
        assert (await client.result("info"))["pid"] > 0
        for code in ("a", "b"):
            assert "result" not in await client.call("setExperimentFlag", {"code": code, "value": True})
        await client.call("setExperimentFlag", {"code": "a", "value": False})
        assert await client.result("getExperimentFlags") == ["b"]
        assert "result" not in await client.call("notify", {"title": "hello"})
        for endpoint in ("startHttpServer", "stopHttpServer", "requestShutdown"):
            assert (await client.error(endpoint, {}))["title"]
        variants = await client.result("listDownloadedModelVariants", {"modelKey": "alpha"})
        assert [each["modelKey"] for each in variants] == ["alpha"]
