"""The mock provider: what it promises as a provider, and what tests can do with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.errors import EngineCrashed, GatewayError, InsufficientMemory, InvalidRequest, LoadFailed
from lanhaven.providers.base import Ignored, Loaded, ModelEntry, ProviderContext
from lanhaven.providers.mock import MockConfig, MockProvider, create
from lanhaven.types.models import LoadConfig, ModelKind
from lanhaven.upstream.pool import Timers, UpstreamClient

pytestmark = pytest.mark.anyio


class Observer:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float | None]] = []
        self.ended: list[Exception] = []

    def progress(self, stage: str, fraction: float | None = None) -> None:
        self.steps.append((stage, fraction))

    def gone(self, error: Exception) -> None:
        self.ended.append(error)


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[MockProvider]:
    made = create(ProviderContext("mock", tmp_path))
    yield made
    await made.aclose()
    assert not files(tmp_path)


async def load(provider: MockProvider, observer: Observer | None = None, name: str = "m", **config: Any) -> Loaded:
    info = provider.describe(ModelEntry("m", "mock", config=config))
    return await provider.load(info, name, LoadConfig(), observer or Observer())


async def ask(loaded: Loaded, path: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    client = UpstreamClient(Timers())
    try:
        sent = json.dumps({"messages": [{"role": "user", "content": "hi"}], **body}).encode()
        value: dict[str, Any] = json.loads(await (await client.send(loaded.upstream, path, sent, stream=False)).body())
        return value
    finally:
        await client.aclose()


async def test_a_model_without_any_configuration(provider: MockProvider) -> None:
    (info,) = await provider.models()
    assert (info.key, info.kind) == ("mock", ModelKind.LLM)
    loaded = await provider.load(info, "mock", LoadConfig(), Observer())
    assert (await ask(loaded))["choices"][0]["message"]["content"] == "hi"


async def test_configured_models_replace_it(provider: MockProvider) -> None:
    provider.describe(ModelEntry("other", "mock"))
    assert await provider.models() == ()


async def test_it_listens_on_a_private_socket(provider: MockProvider, tmp_path: Path) -> None:
    loaded = await load(provider)
    assert loaded.upstream.socket is not None
    assert Path(loaded.upstream.socket).parent == tmp_path
    await provider.unload("m")
    assert not files(tmp_path)
    await provider.unload("m")
    assert provider.unloads["m"] == 1


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    provider = MockProvider(deep)
    loaded = await load(provider)
    assert loaded.upstream.socket is None
    assert (await ask(loaded))["choices"]
    await provider.aclose()


async def test_its_config_is_obeyed(provider: MockProvider) -> None:
    loaded = await load(provider, answer="count", tokens=3, context_length=10, slots=2, size_bytes=7)
    assert (await ask(loaded))["choices"][0]["message"]["content"] == "tok0 tok1 tok2"
    assert (loaded.size_bytes, loaded.upstream.slots, loaded.load_config.context_length) == (7, 2, 10)
    with pytest.raises(GatewayError, match="exceeds the available context size"):
        await ask(loaded, messages=[{"role": "user", "content": "x " * 20}])


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("embedding", "/v1/embeddings", {"input": "a"}),
        ("reranker", "/v1/rerank", {"query": "a", "documents": ["a"]}),
    ],
)
async def test_kinds(provider: MockProvider, kind: str, path: str, body: dict[str, Any]) -> None:
    loaded = await load(provider, kind=kind)
    assert path in loaded.upstream.routes
    assert await ask(loaded, path, **body)


async def test_the_load_config_wins_and_is_told(provider: MockProvider) -> None:
    info = provider.describe(ModelEntry("m", "mock", config={"ignores": ["gpu_ratio", "kv_type"]}))
    asked = LoadConfig(context_length=99, gpu_ratio=0.5, cpu_threads=2)
    loaded = await provider.load(info, "m", asked, Observer())
    assert loaded.load_config.context_length == 99
    assert loaded.load_config.gpu_ratio is None
    assert loaded.applied == {"contextLength": 99, "cpuThreads": 2, "slots": 4}
    assert loaded.ignored == (Ignored("gpu.ratio", "this mock model was told to ignore it"),)


@pytest.mark.parametrize("config", [{"nonsense": 1}, {"tokens": "many"}, {"kind": "cat"}])
async def test_a_wrong_setting_is_named(provider: MockProvider, config: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="mock provider"):
        provider.describe(ModelEntry("m", "mock", config=config))


async def test_a_slow_load_tells_its_progress(provider: MockProvider) -> None:
    observer = Observer()
    await load(provider, observer, load_seconds=0.02)
    fractions = [fraction for stage, fraction in observer.steps if stage == "loading"]
    assert len(fractions) == 10
    assert fractions == sorted(fractions, key=lambda each: each or 0)
    assert observer.steps[-1] == ("ready", 1.0)


async def test_a_held_load_waits_and_can_be_cancelled(provider: MockProvider, tmp_path: Path) -> None:
    with provider.held("m"):
        stopped = asyncio.create_task(load(provider, name="a"))
        going = asyncio.create_task(load(provider, name="b"))
        await asyncio.sleep(0)
        assert provider.loads["m"] == 2
        stopped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert not files(tmp_path)
    await going
    assert list(provider.servers) == ["b"]


async def test_loads_that_fail(provider: MockProvider) -> None:
    with pytest.raises(LoadFailed, match="m could not be loaded: no such tensor"):
        await load(provider, fail_load="no such tensor.")
    provider.fail_loads("m", InsufficientMemory("no room"))
    with pytest.raises(InsufficientMemory):
        await load(provider)
    provider.fail_loads("m", None)
    await load(provider)


async def test_a_crash_is_reported_once(provider: MockProvider) -> None:
    observer = Observer()
    await load(provider, observer)
    provider.crash("m")
    assert [type(each) for each in observer.ended] == [EngineCrashed]
    assert await provider.instances() == []
    await provider.unload("m")
    assert len(observer.ended) == 1


async def test_a_crash_by_itself(provider: MockProvider) -> None:
    observer = Observer()
    loaded = await load(provider, observer, crash_after=1)
    await ask(loaded)
    with pytest.raises(GatewayError):
        await ask(loaded)
    assert len(observer.ended) == 1


async def test_no_crash_is_reported_of_what_was_unloaded(provider: MockProvider) -> None:
    observer = Observer()
    await load(provider, observer)
    server = provider.server("m")
    await provider.unload("m")
    server.crash()
    assert observer.ended == []


async def test_books(provider: MockProvider) -> None:
    loaded = await load(provider)
    (running,) = await provider.instances()
    assert (running.instance_id, running.model_key, running.upstream) == ("m", "m", loaded.upstream)
    provider.server("m").script(Fault(status=418))
    with pytest.raises(GatewayError):
        await ask(loaded)
    assert provider.logs("m") == ["POST /v1/chat/completions"]
    assert provider.logs("absent") == ()
    health = await provider.health()
    assert health.ok
    assert health.detail == "scripted answers, 1 loaded"
    assert repr(provider) == "MockProvider(m)"


@pytest.mark.parametrize("name", sorted({*Fault.__slots__, *MockConfig.__slots__, *Act}))
def test_the_manual_names_everything(name: str) -> None:
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "mock.md").read_text(encoding="utf-8")
