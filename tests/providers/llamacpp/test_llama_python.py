"""The child on llama-cpp-python: against a scripted package always, and against the real one where
`scripts/test-llama-cpp-python` has built it (that takes minutes of two processors)."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lanhaven.errors import UnsupportedFeature
from lanhaven.providers.base import Loaded, ModelEntry, ProviderContext
from lanhaven.providers.llamacpp.provider import LlamaCpp
from lanhaven.types.models import LoadConfig, Upstream
from tests.children import own_children
from tests.mlx.engine import stream
from tests.providers.llamacpp.llama import OPTIONS, QUICK, Observer, ask, model
from tests.vision import make_eyes

pytestmark = [pytest.mark.anyio, pytest.mark.req("S4-11", "S4-x7"), pytest.mark.timeout(240)]
SCRIPTED = Path(__file__).with_name("scripted")
REAL = Path(__file__).parents[3] / ".tools/llama-cpp-python/env/bin/python"
BUILT = REAL.parents[1].joinpath("setup-stamp").exists()
VERSIONS: Mapping[str, str | None] = {"xllamacpp": None, "llama-cpp-python": "0.3.36"}
HALF = LoadConfig(context_length=512, slots=4, cpu_threads=2, gpu_ratio=0.5)


@dataclass(frozen=True)
class Engine:
    real: bool
    provider: LlamaCpp
    folder: Path  # of the model's file

    async def load(self, path: Path, name: str = "tiny", **settings: Any) -> tuple[Loaded, Observer]:
        link = self.folder / f"{name}.gguf"
        link.symlink_to(path)
        observer = Observer()
        return await self.provider.load(model(self.provider, link, **settings), name, HALF, observer), observer


@pytest.fixture(scope="module", params=["scripted", *(["real"] if BUILT else [])])
async def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    real = request.param == "real"
    with TemporaryDirectory(prefix="lh") as name, pytest.MonkeyPatch.context() as patch:
        if real:
            made = LlamaCpp(_context(name, python=str(REAL), engine="llama_cpp_python"), timers=QUICK)
        else:
            patch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTED), os.environ.get("PYTHONPATH", "")]))
            made = LlamaCpp(_context(name), timers=QUICK, find=lambda python: VERSIONS)
        try:
            yield Engine(real, made, tmp_path_factory.mktemp("models"))
        finally:
            await made.aclose()
            assert not own_children()
            assert not os.listdir(name)  # noqa: PTH208


def _context(folder: str, **options: Any) -> ProviderContext:
    return ProviderContext("llama_cpp", Path(folder), {**OPTIONS, **options})


@pytest.fixture(scope="module")
async def chatting(engine: Engine, smollm2: Path) -> tuple[Loaded, Observer]:
    return await engine.load(smollm2)


@pytest.fixture
def upstream(chatting: tuple[Loaded, Observer]) -> Upstream:
    return chatting[0].upstream


async def chat(upstream: Upstream, words: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": 12, "temperature": 0, **fields}
    status, reply = await ask(upstream, "/v1/chat/completions", body)
    assert status == 200, reply
    assert isinstance(reply, dict)
    return reply


async def text_of(upstream: Upstream, words: str, **fields: Any) -> str:
    return str((await chat(upstream, words, **fields))["choices"][0]["message"]["content"])


async def test_what_a_load_tells(engine: Engine, chatting: tuple[Loaded, Observer]) -> None:
    loaded, observer = chatting
    assert (loaded.upstream.slots, loaded.load_config.context_length, loaded.ours) == (1, 512, True)
    assert "slots" in [each.key for each in loaded.ignored]
    assert observer.fractions[-1] == 1.0
    assert "loading tensors" in observer.stages
    if not engine.real:
        assert (loaded.applied["gpu.layers"], loaded.applied["gpu.ratio"]) == (16, 0.5)  # of 30, and the output layer
        (said,) = [line for line in engine.provider.logs("tiny") if "scripted:" in line]
        assert "check_tensors=False" in said
        assert "n_gpu_layers=16 n_threads=2 n_threads_batch=2" in said
    detail = (await engine.provider.health()).detail
    assert detail.startswith("llama-cpp-python 0.3.")
    assert detail.endswith("no GPU" if engine.real else "A scripted GPU (24 GiB)")


async def test_a_whole_answer(upstream: Upstream) -> None:
    reply = await chat(upstream, "Hi")
    (choice,), usage = reply["choices"], reply["usage"]
    assert (reply["model"], choice["message"]["role"], choice["finish_reason"]) == ("tiny", "assistant", "length")
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12
    again = await chat(upstream, "Hi")
    assert again["choices"] == reply["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1


async def test_a_stream(upstream: Upstream) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me"}], "max_tokens": 12}
    body |= {"stream_options": {"include_usage": True}, "return_progress": True}
    async with stream(upstream, "/v1/chat/completions", **body) as chunks:
        found = [chunk async for chunk in chunks]
    text = "".join(each["choices"][0]["delta"].get("content") or "" for each in found if each["choices"])
    assert text == await text_of(upstream, "Tell me")
    assert found[-1]["usage"]["completion_tokens"] == 12
    progress = [each["prompt_progress"] for each in found if "prompt_progress" in each]
    assert progress[-1]["processed"] == progress[-1]["total"] == found[-1]["usage"]["prompt_tokens"]


async def test_stop_seed_and_several_answers(upstream: Upstream) -> None:
    text = await text_of(upstream, "Hi")
    reply = await chat(upstream, "Hi", stop=[text[4:7]])
    assert (reply["choices"][0]["message"]["content"], reply["choices"][0]["finish_reason"]) == (text[:4], "stop")
    drawn = [await text_of(upstream, "Hi", temperature=1.5, seed=seed) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]
    both = (await chat(upstream, "Hi", temperature=1.5, seed=7, n=2))["choices"]
    assert [each["message"]["content"] for each in both] == [drawn[0], drawn[2]]


async def test_a_schema_is_held_and_a_bad_one_refused(upstream: Upstream) -> None:
    city = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
    form: Any = {"type": "json_schema", "json_schema": {"schema": {**city, "additionalProperties": False}}}
    found = json.loads(await text_of(upstream, "Where?", response_format=form, max_tokens=60))
    assert found["city"] in {"Rome", "Oslo"}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"grammar": "root ::= nonsense"}, "The grammar cannot be followed"),
        ({"json_schema": {"$ref": "#/badref"}}, "The JSON schema cannot be followed"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "does not support tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "use engine xllamacpp"),
    ]
    for fields, why in refused:
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4, **fields}
        status, reply = await ask(upstream, "/v1/chat/completions", body)
        assert (status, why in reply["error"]["message"]) == (400, True), reply


async def test_a_prompt_that_does_not_fit(upstream: Upstream) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 800}]}
    status, reply = await ask(upstream, "/v1/chat/completions", body)
    assert (status, reply["error"]["type"], reply["error"]["n_ctx"]) == (400, "exceed_context_size_error", 512)


async def test_a_client_that_leaves_makes_room(engine: Engine, upstream: Upstream) -> None:
    """The engine computes one request after the other: without a cancel, the second would wait for the first's end."""
    body = {"messages": [{"role": "user", "content": "slow"}], "max_tokens": 400, "temperature": 1.0}
    async with stream(upstream, "/v1/chat/completions", **body) as chunks:
        assert await anext(chunks)
        waiting = asyncio.create_task(chat(upstream, "Hi"))
        await anext(chunks)
        assert not waiting.done()
    assert (await waiting)["usage"]["completion_tokens"] == 12


async def test_logprobs(upstream: Upstream) -> None:
    reply = await chat(upstream, "Hi", logprobs=True, top_logprobs=3)
    entries = reply["choices"][0]["logprobs"]["content"]
    assert len(entries) == 12
    first = entries[0]
    assert first["logprob"] == first["top_logprobs"][0]["logprob"] < 0
    assert sum(math.exp(each["logprob"]) for each in first["top_logprobs"]) <= 1
    assert first["top_logprobs"][0]["token"] == first["token"]


async def test_tokens_and_templates(upstream: Upstream) -> None:
    status, found = await ask(upstream, "/tokenize", {"content": "Hello world"})
    assert status == 200
    assert (await ask(upstream, "/detokenize", found))[1] == {"content": "Hello world"}
    messages = {"messages": [{"role": "user", "content": "Hi"}]}
    prompt = (await ask(upstream, "/apply-template", messages))[1]["prompt"]
    assert prompt.rstrip().endswith(("assistant:", "assistant"))
    count = (await ask(upstream, "/v1/chat/completions/input_tokens", messages))[1]["input_tokens"]
    assert count == len((await ask(upstream, "/tokenize", {"content": prompt}))[1]["tokens"])
    begun = {"messages": [*messages["messages"], {"role": "assistant", "content": "Well, I"}]}
    assert (await ask(upstream, "/apply-template", begun))[1]["prompt"].endswith("Well, I")
    status, reply = await ask(upstream, "/v1/embeddings", {"input": "x"})
    assert (status, reply["error"]["message"]) == (501, "this model does not support embeddings")


async def test_completions_of_texts_and_tokens(upstream: Upstream) -> None:
    tokens = (await ask(upstream, "/tokenize", {"content": "One two"}))[1]["tokens"]
    body = {"prompt": ["One two", tokens], "max_tokens": 5, "temperature": 0}
    status, reply = await ask(upstream, "/v1/completions", body)
    assert (status, len(reply["choices"])) == (200, 2)
    assert reply["choices"][0]["text"] == reply["choices"][1]["text"]


async def test_embeddings(engine: Engine, minilm: Path) -> None:
    loaded, _ = await engine.load(minilm, "mini")
    texts = ["a cat", "a kitten", "tax law"]
    status, reply = await ask(loaded.upstream, "/v1/embeddings", {"input": texts})
    assert (status, [each["index"] for each in reply["data"]]) == (200, [0, 1, 2])
    status, packed = await ask(loaded.upstream, "/v1/embeddings", {"input": "a cat", "encoding_format": "base64"})
    assert (status, isinstance(packed["data"][0]["embedding"], str)) == (200, True)
    status, refused = await ask(loaded.upstream, "/v1/embeddings", {"input": "word " * 900})
    assert "too large to process" in refused["error"]["message"]
    if engine.real:
        cat, kitten, law = (each["embedding"] for each in reply["data"])
        assert _dot(cat, cat) == pytest.approx(1, abs=1e-3)
        assert _dot(cat, kitten) > _dot(cat, law)


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


async def test_an_error_of_the_engine_ends_its_request_only(engine: Engine, upstream: Upstream) -> None:
    if engine.real:
        return  # it cannot be made to fail at will
    body = {"messages": [{"role": "user", "content": "break"}]}
    status, reply = await ask(upstream, "/v1/chat/completions", body)
    assert (status, reply["error"]["message"]) == (500, "llama_decode returned -3")
    assert (await chat(upstream, "Hi"))["usage"]["completion_tokens"] == 12


# ---- choosing


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("options", "there", "runs"),
    [
        ({}, {"xllamacpp": "1", "llama-cpp-python": "2"}, "xllamacpp 1, "),
        ({}, {"xllamacpp": None, "llama-cpp-python": "2"}, "llama-cpp-python 2, "),
        (
            {"engine": "llama_cpp_python"},
            {"xllamacpp": "1", "llama-cpp-python": "2"},
            "llama-cpp-python 2, ",
        ),
        ({"engine": "llama_cpp_python"}, {"xllamacpp": "1", "llama-cpp-python": None}, "pip install llama-cpp-python"),
        ({"engine": "xllamacpp", "binary": "/no"}, {"xllamacpp": "1", "llama-cpp-python": None}, "xllamacpp 1, "),
        ({"binary": "/no/such"}, {"xllamacpp": "1", "llama-cpp-python": None}, "providers.llama_cpp.binary: there is"),
        ({"engine": "binary", "binary": "/no"}, {"xllamacpp": "1", "llama-cpp-python": None}, "no program 'no'"),
    ],
)
async def test_which_engine_runs(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, options: Any, there: Any, runs: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTED))
    made = LlamaCpp(ProviderContext("llama_cpp", run_dir, options), timers=QUICK, find=lambda python: there)
    health = await made.health()
    await made.aclose()
    assert runs in health.detail


async def test_what_it_cannot_do_is_said_beforehand(run_dir: Path, smollm2: Path, tmp_path: Path) -> None:
    made = LlamaCpp(ProviderContext("llama_cpp", run_dir, OPTIONS), find=lambda python: VERSIONS)
    projector = make_eyes(smollm2, tmp_path / "p.gguf")
    config = {"model_path": str(smollm2), "mmproj_path": str(projector)}
    info = made.describe(ModelEntry("tiny", "llama_cpp", config=config))
    assert "projectors are not supported" in (info.unavailable or "")
    with pytest.raises(UnsupportedFeature, match="use engine xllamacpp"):
        await made.load(model(made, smollm2, mmproj_path=str(projector)), "tiny", HALF, Observer())
    template = tmp_path / "t.jinja"
    template.write_text("{{ tools }}")
    told = made.describe(ModelEntry("t", "llama_cpp", config=config | {"chat_template_path": str(template)}))
    assert "tools" not in told.capabilities
