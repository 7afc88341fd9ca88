"""The provider with the real engine: load, use, unload, crash; and what it says of a load config."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lanhaven.engines.probe import Address, answers
from lanhaven.errors import (
    InstanceConflict,
)
from lanhaven.providers.base import Ignored, Loaded, ModelEntry, ProviderContext
from lanhaven.providers.llamacpp.provider import LlamaCpp
from lanhaven.types.models import LoadConfig, ModelKind, Upstream
from tests.children import own_children
from tests.providers import tiny
from tests.providers.llamacpp.llama import OPTIONS, QUICK, SMALL, Observer, ask, model

pytestmark = pytest.mark.anyio


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)


Make = Callable[..., LlamaCpp]


@pytest.fixture
async def make(run_dir: Path) -> AsyncIterator[Make]:
    """Makes providers; at the end none of them has left anything."""
    made: list[LlamaCpp] = []

    def new(options: dict[str, Any] | None = None, **more: Any) -> LlamaCpp:
        made.append(LlamaCpp(ProviderContext("llama_cpp", run_dir, options or OPTIONS), timers=QUICK, **more))
        return made[-1]

    yield new
    for provider in made:
        await provider.aclose()
    assert not own_children()
    assert not await asyncio.to_thread(lambda: list(run_dir.iterdir()))


def chat(words: str) -> dict[str, Any]:
    return {"model": "x", "messages": [{"role": "user", "content": words}], "max_tokens": 4, "temperature": 0}


def pid_of(provider: LlamaCpp) -> int:
    (child,) = own_children()
    return int(child.pid)


async def load(provider: LlamaCpp, path: Path, config: LoadConfig = SMALL, **settings: Any) -> tuple[Loaded, Observer]:
    observer = Observer()
    return await provider.load(model(provider, path, **settings), "tiny", config, observer), observer


@pytest.mark.req("F-157")
async def test_a_chat_over_the_instances_socket(make: Make, smollm2: Path) -> None:
    provider = make()
    loaded, observer = await load(provider, smollm2)
    upstream = loaded.upstream
    status, reply = await ask(upstream, "/v1/chat/completions", chat("Say hello"))
    assert status == 200
    assert "xllamacpp" not in sys.modules
    assert reply["model"] == "tiny"
    assert 1 <= reply["usage"]["completion_tokens"] <= 4
    assert not upstream.reuse_after_stream
    assert upstream.slots == 1
    assert upstream.socket is not None
    assert observer.stages[0] in {"reading", "starting"}
    assert observer.stages[-1].startswith("preparing slots")
    assert (await ask(Upstream(model="x", socket=upstream.socket), "/v1/models"))[0] == 401


@pytest.mark.req("S0-14", "S0-15", "S0-16", "S0-17", "S0-18", "S0-19", "C14")
async def test_a_load_config_is_applied_and_what_is_not_is_said(make: Make, smollm2: Path) -> None:
    asked = LoadConfig(
        context_length=768,
        gpu_ratio=0.5,
        gpu_layers=15,
        cpu_threads=1,
        rope_frequency_base=10000,
        rope_frequency_scale=0.5,
        slots=3,
        flash_attention=True,
        kv_type="q8_0",
    )
    loaded, _ = await load(make(), smollm2, asked)
    assert loaded.applied == {
        "contextLength": 768,
        "slots": 3,
        "cpuThreads": 1,
        "ropeFrequencyBase": 10000.0,
        "ropeFrequencyScale": 0.5,
        "flashAttention": True,
        "kvType": "q8_0",
    }
    assert loaded.ignored == (
        Ignored("gpu.ratio", "gpu.layers is given too and wins"),
        Ignored("gpu.layers", "llama.cpp finds no GPU here: it was told, and nothing changed"),
    )
    assert loaded.load_config.context_length == 768
    _, props = await ask(loaded.upstream, "/props")
    assert props["default_generation_settings"]["n_ctx"] == 768
    assert props["total_slots"] == 3


async def test_what_nobody_says_has_a_default(make: Make, smollm2: Path) -> None:
    provider = make({**OPTIONS, "context_length": 600, "default_slots": 2, "threads": 1})
    loaded, _ = await load(provider, smollm2, LoadConfig())
    assert loaded.load_config == LoadConfig(
        context_length=768, slots=2, cpu_threads=1, kv_type="f16"
    )  # whole steps of 256
    assert loaded.ignored == ()


async def test_more_context_than_the_model_has_is_said(make: Make, minilm: Path) -> None:
    loaded, _ = await load(make(), minilm, LoadConfig(context_length=2048, slots=1))
    assert loaded.applied["contextLength"] == 512
    assert loaded.ignored == (Ignored("contextLength", "the model takes 512 tokens at most"),)


async def test_settings_of_the_entry_are_used_and_the_load_wins(make: Make, smollm2: Path) -> None:
    provider = make()
    info = model(provider, smollm2, n_ctx=1024, slots=1, threads=1, n_gpu_layers=-1)
    loaded = await provider.load(info, "tiny", LoadConfig(cpu_threads=2), Observer())
    assert (loaded.applied["contextLength"], loaded.applied["slots"], loaded.applied["cpuThreads"]) == (1024, 1, 2)
    assert [each.key for each in loaded.ignored] == ["gpu.ratio"]


async def test_embeddings(make: Make, minilm: Path) -> None:
    provider = make()
    loaded, _ = await load(provider, minilm, LoadConfig(slots=2))
    assert loaded.upstream.routes >= {"/v1/embeddings"}
    assert "/v1/chat/completions" not in loaded.upstream.routes
    words = "sea " * 400  # more than the usual batch of 512 tokens would take with a few more
    status, reply = await ask(loaded.upstream, "/v1/embeddings", {"input": ["sky", words]})
    assert status == 200
    assert [len(each["embedding"]) for each in reply["data"]] == [384, 384]
    assert loaded.applied["contextLength"] == 512


async def test_reranking(make: Make, tmp_path: Path) -> None:
    provider = make()
    path = tiny.reranker(tmp_path / "toy.gguf")
    assert provider.describe(ModelEntry("toy", "llama_cpp", config={"model_path": path})).kind is ModelKind.RERANKER
    loaded, _ = await load(provider, path, LoadConfig(slots=1))
    status, reply = await ask(loaded.upstream, "/v1/rerank", {"query": "red", "documents": ["blue sea", "red sky"]})
    assert status == 200
    assert {each["index"] for each in reply["results"]} == {0, 1}
    assert loaded.upstream.routes >= {"/v1/rerank"}


@pytest.mark.req("S4-x7")
async def test_a_projector_gives_a_model_eyes(make: Make, smollm2: Path, tmp_path: Path) -> None:
    provider = make()
    eyes = tiny.projector(tmp_path / "mmproj.gguf", model_width=576)
    config = {"model_path": str(smollm2), "mmproj_path": str(eyes), "vision": True}
    info = provider.describe(ModelEntry("tiny", "llama_cpp", config=config))
    assert info.kind is ModelKind.VLM
    assert info.capabilities >= {"vision", "chat"}
    loaded, _ = await load(provider, smollm2, mmproj_path=str(eyes))
    _, props = await ask(loaded.upstream, "/props")
    assert props["modalities"]["vision"] is True


async def test_a_chat_template_of_the_entry_replaces_the_models(make: Make, smollm2: Path, tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{# tools #}")
    provider = make()
    config = {"model_path": smollm2, "chat_template_path": template}
    assert "tools" in provider.describe(ModelEntry("tiny", "llama_cpp", config=config)).capabilities
    loaded, _ = await load(provider, smollm2, chat_template_path=str(template))
    _, reply = await ask(loaded.upstream, "/apply-template", {"messages": [{"role": "user", "content": "hi"}]})
    assert reply["prompt"] == "<user>hi"


@pytest.mark.req("F-157")
async def test_over_tcp_where_there_are_no_unix_sockets(make: Make, smollm2: Path) -> None:
    loaded, _ = await load(make(unix_sockets=False), smollm2)
    assert loaded.upstream.socket is None
    assert (await ask(loaded.upstream, "/v1/chat/completions", chat("Say hello")))[0] == 200
    assert (await ask(Upstream(model="x", base_url=loaded.upstream.base_url), "/v1/models"))[0] == 401


async def test_the_estimate_is_near_what_a_load_takes(make: Make, smollm2: Path) -> None:
    """With private weights: mapped ones are shared with whoever else has mapped the file, and counted in part."""
    provider = make()
    loaded, _ = await load(provider, smollm2, use_mmap=False)
    assert abs(provider.estimate(model(provider, smollm2), SMALL) - loaded.size_bytes) < 40_000_000


@pytest.mark.req("P20")
async def test_no_prompt_and_no_key_is_logged(make: Make, smollm2: Path) -> None:
    provider = make()
    loaded, _ = await load(provider, smollm2)
    word = "CANARY"
    bodies: list[dict[str, Any]] = [
        chat(word),
        chat(f"{word} " * 600),  # more than the context
        {**chat(word), "grammar": f"root ::= {word}"},
        {**chat(word), "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": word}}}},
        {**chat(word), "tools": [{"type": "function", "function": {"name": word, "parameters": {"type": "object"}}}]},
        {"messages": [{"role": word, "content": [{"type": word}]}]},
    ]
    statuses = [(await ask(loaded.upstream, "/v1/chat/completions", body))[0] for body in bodies]
    assert 200 in statuses
    assert 400 in statuses
    text = "\n".join(provider.logs("tiny"))
    assert "new prompt" in text
    assert word not in text
    assert loaded.upstream.headers[0][1].removeprefix("Bearer ") not in text
    assert loaded.upstream.headers[0][1] not in repr(loaded)


async def test_two_instances_at_once(make: Make, smollm2: Path) -> None:
    provider = make()
    info = model(provider, smollm2)
    one, two = await asyncio.gather(*(provider.load(info, name, SMALL, Observer()) for name in ("one", "two")))
    assert one.upstream.headers != two.upstream.headers
    with pytest.raises(InstanceConflict):
        await provider.load(info, "one", SMALL, Observer())
    running = {each.instance_id: each for each in await provider.instances()}
    assert (running["two"].model_key, running["two"].load_config) == ("tiny", two.load_config)
    assert all(20_000_000 < each.size_bytes < 400_000_000 for each in running.values())


@pytest.mark.req("P2")
@pytest.mark.parametrize("stage", ["loading", "allocating", "warming up"])
async def test_a_cancelled_load_leaves_nothing(make: Make, smollm2: Path, stage: str) -> None:
    provider, observer = make(), Observer()
    reached = asyncio.Event()
    observer.heard = lambda name: reached.set() if name == stage else None
    loading = asyncio.ensure_future(provider.load(model(provider, smollm2), "tiny", SMALL, observer))
    await asyncio.wait_for(reached.wait(), 60)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not own_children()
    assert await provider.instances() == []
    await load(provider, smollm2)


async def test_more_waiting_requests_than_slots_do_not_look_hung(make: Make, smollm2: Path) -> None:
    """Each holds one of the engine's HTTP threads; the probe needs one too."""
    provider = make()
    loaded, observer = await load(provider, smollm2)
    body = {**chat("Count"), "max_tokens": 64, "ignore_eos": True}
    requests = [asyncio.ensure_future(ask(loaded.upstream, "/v1/chat/completions", body)) for _ in range(16)]
    done, waiting = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    assert len(waiting) > 10
    assert await answers(Address(loaded.upstream.socket), "", 0.5)
    assert {request.result()[0] for request in done} == {200}
    for request in waiting:
        request.cancel()
    await asyncio.wait(waiting)
    assert observer.errors == []
