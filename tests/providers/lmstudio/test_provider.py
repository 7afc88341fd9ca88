"""The lmstudio provider in front of a scripted LM Studio: models, loads, what runs, several hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import InstanceConflict, LoadFailed, ModelNotFound, ProviderUnavailable
from lanhaven.providers.lmstudio.provider import LMStudioProvider
from lanhaven.types.models import LoadConfig, ModelKind
from tests.lmstudio.studio import CHAT, EMBEDDING, SEEING, Studio
from tests.providers.lmstudio.case import Case, Observer, case, provider

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world() -> AsyncIterator[Case]:
    async with case(answer_timeout=0.5) as made:
        yield made


# Models


@pytest.mark.req("S1-13", "S1-14")
async def test_the_models_of_lm_studio_are_in_the_catalog(world: Case) -> None:
    chat, seeing, embedding = await world.provider.models()
    assert (chat.key, chat.kind, chat.format, chat.size_bytes) == (CHAT, ModelKind.LLM, "gguf", 4_000_000)
    assert (chat.max_context, chat.quantization, chat.architecture) == (32768, "Q4_K_M", "qwen2")
    assert chat.capabilities == {"chat", "completion", "tools"}
    assert chat.aliases == (f"publisher/{CHAT}-GGUF/{CHAT}-Q4_K_M.gguf", f"lmstudio/{CHAT}")
    assert (seeing.kind, seeing.capabilities) == (ModelKind.VLM, {"chat", "completion", "vision"})
    assert (embedding.kind, embedding.capabilities) == (ModelKind.EMBEDDING, {"embedding"})


async def test_what_is_malformed_in_the_list_is_passed_over(world: Case) -> None:
    strange: list[Any] = [3, None, {}, {"type": "llm", "modelKey": ""}, {"type": "tts", "modelKey": "voice"}]
    world.studio.models += [*strange, {"type": "llm", "modelKey": "bare", "sizeBytes": -5, "quantization": "x"}]
    infos = await world.provider.models()
    assert [each.key for each in infos] == [CHAT, SEEING, EMBEDDING, "bare"]
    assert (infos[-1].size_bytes, infos[-1].quantization) == (0, None)


async def test_an_entry_of_models_yaml_gives_a_model_another_name(world: Case) -> None:
    await world.provider.models()
    info = world.entry("house-model", model=CHAT)
    assert (info.key, info.kind, info.max_context, info.aliases) == ("house-model", ModelKind.LLM, 32768, ())
    await world.provider.load(info, "house-model", LoadConfig(), Observer())
    assert world.studio.calls("loadModel")[0]["modelKey"] == CHAT
    assert list(world.studio.loaded) == ["house-model"]


async def test_what_nobody_knows_yet_is_denied_to_nobody(world: Case) -> None:
    assert world.entry("unheard-of").capabilities == frozenset()
    assert world.entry("unheard-of", kind="embedding").capabilities == {"embedding"}
    loaded = await world.load(EMBEDDING)
    assert loaded.upstream.routes == {"/v1/embeddings"}


# Loads


@pytest.mark.req("S1-02", "S1-15", "S1-16", "S1-19", "S1-20", "S1-22", "C14")
async def test_a_load_config_takes_effect_and_what_does_not_is_told(world: Case) -> None:
    config = LoadConfig(context_length=8192, gpu_ratio=1.0, gpu_layers=32, cpu_threads=4, slots=2, idle_ttl=300.0)
    loaded = await world.load(CHAT, "primary", config)
    assert world.studio.calls("loadModel") == [
        {
            "modelKey": CHAT,
            "identifier": "primary",
            "ttlMs": 300_000,
            "loadConfigStack": {
                "layers": [
                    {
                        "layerName": "apiOverride",
                        "config": {
                            "fields": [
                                {"key": "llm.load.contextLength", "value": 8192},
                                {"key": "llm.load.llama.acceleration.offloadRatio", "value": 1.0},
                                {"key": "llm.load.numParallelSessions", "value": 2},
                            ]
                        },
                    }
                ]
            },
        }
    ]
    assert loaded.load_config == LoadConfig(context_length=8192, gpu_ratio=1.0, slots=2, idle_ttl=300.0)
    assert loaded.applied == {"contextLength": 8192, "gpu.ratio": 1.0, "slots": 2, "ttlSeconds": 300.0}
    assert {each.key for each in loaded.ignored} == {"cpuThreads", "gpu.layers"}
    assert (loaded.upstream.base_url, loaded.upstream.model, loaded.upstream.slots) == (world.studio.url, "primary", 2)


def place(file: Path, there: Path) -> None:
    there.parent.mkdir(parents=True)
    there.write_bytes(file.read_bytes())


@pytest.mark.req("C14", "S1-21")
async def test_layers_become_a_ratio_where_the_file_or_the_entry_tells_their_number(
    tmp_path: Path, smollm2: Path
) -> None:
    async with case(models_dir=str(tmp_path)) as world:
        place(smollm2, tmp_path / world.studio.models[0]["path"])
        loaded = await world.load(CHAT, "by-file", LoadConfig(gpu_layers=15))
        assert loaded.applied == {"gpu.layers": 15, "gpu.ratio": 0.5}
        info = world.entry("by-entry", model=SEEING, layers=60)
        loaded = await world.provider.load(info, "by-entry", LoadConfig(gpu_layers=15), Observer())
        assert loaded.applied == {"gpu.layers": 15, "gpu.ratio": 0.25}


async def test_a_path_that_leads_out_of_the_folder_is_not_read(tmp_path: Path, smollm2: Path) -> None:
    async with case(models_dir=str(tmp_path)) as world:
        world.studio.models[0]["path"] = str(smollm2)
        loaded = await world.load(CHAT, "x", LoadConfig(gpu_layers=15))
        assert [each.key for each in loaded.ignored] == ["gpu.layers"]


async def test_a_silent_config_is_what_lm_studio_makes_of_it(world: Case) -> None:
    loaded = await world.load()
    assert "ttlMs" not in world.studio.calls("loadModel")[0]
    assert loaded.load_config == LoadConfig(context_length=4096)
    assert (loaded.applied, loaded.ignored) == ({}, ())


async def test_progress_never_falls_and_has_stages(world: Case) -> None:
    world.studio.numbers = (0.0, 0.4, 0.3, 7.0)
    await world.load()
    assert world.observer.told == [
        ("resolved", None),
        ("loading", 0.0),
        ("loading", 0.4),
        ("loading", 0.4),
        ("loading", 1.0),
        ("ready", 1.0),
    ]


@pytest.mark.req("S1-24")
async def test_two_instances_of_one_model_with_different_configs(world: Case) -> None:
    long = await world.load(CHAT, "high-context", LoadConfig(context_length=32768, gpu_ratio=0.5))
    fast = await world.load(CHAT, "high-gpu", LoadConfig(context_length=4096, gpu_ratio=1.0))
    assert (long.load_config.context_length, long.load_config.gpu_ratio) == (32768, 0.5)
    assert (fast.load_config.context_length, fast.load_config.gpu_ratio) == (4096, 1.0)
    assert sorted(await world.running()) == ["high-context", "high-gpu"]


@pytest.mark.req("S1-26")
async def test_a_model_that_it_does_not_have_is_not_found(world: Case) -> None:
    with pytest.raises(ModelNotFound, match='LM Studio: Cannot find a model with path "no-such"'):
        await world.load("no-such")


async def test_a_load_that_fails_gives_its_own_words(world: Case) -> None:
    world.studio.load_error = {"title": "Engine crashed.", "cause": "out of memory", "suggestion": "close something"}
    with pytest.raises(LoadFailed) as caught:
        await world.load()
    assert caught.value.message == "LM Studio: Engine crashed: out of memory"
    assert caught.value.hint == "close something"


async def test_a_load_that_ends_without_a_result_fails(world: Case) -> None:
    world.studio.ends_early = True
    with pytest.raises(LoadFailed, match="without a result"):
        await world.load()


async def test_a_load_config_that_cannot_be_read_does_no_harm(world: Case) -> None:
    world.studio.mute.add("getLoadConfig")
    loaded = await world.load(CHAT, "primary", LoadConfig(context_length=512, gpu_ratio=0.5))
    assert loaded.load_config == LoadConfig(context_length=512)


@pytest.mark.req("F-022")
async def test_what_holds_the_identifier_is_taken_if_it_is_the_same_model(world: Case) -> None:
    world.studio.load_by_hand(CHAT, "primary")
    loaded = await world.load(CHAT, "primary", LoadConfig(context_length=512))
    assert list(world.studio.loaded) == ["primary"]
    assert not world.studio.calls("unloadModel")
    assert (loaded.load_config.context_length, loaded.applied) == (4096, {})
    assert [each.key for each in loaded.ignored] == ["contextLength"]


@pytest.mark.req("S1-27", "C29")
async def test_another_model_under_the_identifier_is_a_conflict(world: Case) -> None:
    world.studio.load_by_hand(SEEING, "primary")
    with pytest.raises(InstanceConflict, match="LM Studio: Model with identifier primary already exists"):
        await world.load(CHAT, "primary")
    assert world.studio.loaded["primary"].info["modelKey"] == SEEING


async def test_a_load_whose_connection_breaks_fails(world: Case) -> None:
    world.studio.gate = asyncio.Event()
    loading = asyncio.create_task(world.load())
    await world.studio.loading.wait()
    world.studio.hang_up()
    with pytest.raises(ProviderUnavailable, match="closed the connection, while loading"):
        await loading


async def test_a_cancelled_load_is_cancelled_there(world: Case) -> None:
    world.studio.gate = asyncio.Event()
    loading = asyncio.create_task(world.load())
    await world.studio.loading.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert {"type": "cancel"} in [frame.get("message") for _, frame in world.studio.seen]
    assert not world.studio.loaded


async def test_what_a_cancelled_load_had_loaded_all_the_same_is_unloaded(world: Case) -> None:
    world.studio.gate, world.studio.deaf = asyncio.Event(), True
    loading = asyncio.create_task(world.load(CHAT, "primary"))
    await world.studio.loading.wait()
    loading.cancel()
    await asyncio.sleep(0)
    world.studio.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert world.studio.calls("unloadModel") == [{"identifier": "primary"}]
    assert not world.studio.loaded


async def test_a_load_that_is_cancelled_when_only_its_config_is_asked_for_is_undone(world: Case) -> None:
    world.studio.mute.add("getLoadConfig")
    loading = asyncio.create_task(world.load(CHAT, "primary"))
    while not world.studio.calls("getLoadConfig"):  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0.005)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert world.studio.calls("unloadModel") == [{"identifier": "primary"}]
    assert not world.studio.loaded


@pytest.mark.req("S1-17")
async def test_an_unload_ends_it_and_one_that_is_not_there_is_fine(world: Case) -> None:
    await world.load(CHAT, "primary")
    await world.load(EMBEDDING, "vectors")
    for name in ("primary", "vectors", "never-was"):
        await world.provider.unload(name)
    assert not world.studio.loaded
    await world.load(CHAT, "primary")
    world.studio.unload_by_hand("primary")
    await world.provider.unload("primary")


# What runs


@pytest.mark.req("F-023")
async def test_what_somebody_loads_or_unloads_there_is_seen(world: Case) -> None:
    await world.load(CHAT, "primary")
    world.studio.load_by_hand(SEEING, "by-hand")
    world.studio.load_by_hand(EMBEDDING)
    await world.provider.models()
    found = {each.instance_id: each for each in await world.provider.instances() or ()}
    assert {name: each.model_key for name, each in found.items()} == {
        "primary": CHAT,
        "by-hand": SEEING,
        EMBEDDING: EMBEDDING,
    }
    assert found["by-hand"].load_config == LoadConfig(context_length=4096)
    upstream = found["by-hand"].upstream
    assert upstream is not None
    assert (upstream.base_url, upstream.model) == (world.studio.url, "by-hand")
    world.studio.unload_by_hand("primary")
    assert await world.running() == ["by-hand", EMBEDDING]
    await world.provider.unload("by-hand")
    assert list(world.studio.loaded) == [EMBEDDING]


async def test_unreachable_is_not_empty(world: Case) -> None:
    await world.load()
    await world.studio.kill()
    with pytest.raises(ProviderUnavailable):
        await world.provider.instances()
    await world.studio.start()
    assert await world.running() == []


async def test_several_studios_under_one_provider() -> None:
    async with Studio() as pc, Studio() as mac:
        mac.models = [mac.models[0], {**mac.models[1], "modelKey": "only-here", "path": "a/b"}]
        made = provider(hosts={"pc": {"base_url": pc.url}, "mac": {"base_url": mac.url}})
        infos = {each.key: each for each in await made.models()}
        assert list(infos) == [CHAT, SEEING, EMBEDDING, f"mac/{CHAT}", "only-here"]
        await _used(made, infos, pc, mac)
        await made.aclose()


async def _used(made: LMStudioProvider, infos: dict[str, Any], pc: Studio, mac: Studio) -> None:
    for key in (CHAT, f"mac/{CHAT}", "only-here"):
        await made.load(infos[key], key, LoadConfig(), Observer())
    assert (list(pc.loaded), list(mac.loaded)) == ([CHAT], [CHAT, "only-here"])
    pc.load_by_hand(SEEING, "x")
    mac.load_by_hand(CHAT, "x")
    found = {each.instance_id: each.model_key for each in await made.instances() or ()}
    both = {CHAT: CHAT, f"mac/{CHAT}": f"mac/{CHAT}", "only-here": "only-here"}
    assert found == both | {"x": SEEING, "mac/x": f"mac/{CHAT}"}
    await mac.kill()
    assert {each.instance_id for each in await made.instances() or ()} == set(found), "unreachable is not empty"
    assert len(await made.models()) == 5
    health = await made.health()
    assert (health.ok, health.detail) == (True, "pc 0.4.7, 3 models; mac is not running")
    await made.unload("x")
    assert list(pc.loaded) == [CHAT]
