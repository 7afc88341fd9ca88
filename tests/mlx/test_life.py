"""The life of mlx children: load, what a load config does, cancelling, crashes, what cannot be loaded. Real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import InstanceConflict, LoadFailed
from lanhaven.providers.base import Ignored
from lanhaven.types.models import LoadConfig, Upstream
from tests.children import own_children
from tests.mlx.engine import chat, complete, info, load, provider, stream, text_of
from tests.mlx.models import tiny_mlx

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

ENDLESS = LoadConfig(context_length=500_000, slots=1)


@pytest.fixture(scope="module")
def endless(smol: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose context no test lives to see the end of."""
    return tiny_mlx(smol, tmp_path_factory.mktemp("mlx") / "endless", max_position_embeddings=1_000_000)


@dataclass(frozen=True)
class Plain:
    """What the tiny model says with nothing special set."""

    text: str
    heard: list[list[float]]


@pytest.fixture(scope="module")
async def plain(mlx_python: Path, tiny: Path) -> Plain:
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, tiny)
        text = await text_of(loaded.upstream, "Once upon a time", max_tokens=20)
        return Plain(text, await _heard(loaded.upstream))


async def _heard(upstream: Upstream) -> list[list[float]]:
    """How likely the model finds what it says after a short text and after a long one."""
    replies = [await complete(upstream, "word " * count, max_tokens=4, logprobs=0) for count in (4, 80)]
    return [[entry["logprob"] for entry in reply["choices"][0]["logprobs"]["content"]] for reply in replies]


@pytest.mark.req("S4-11", "S4-x6")
async def test_the_real_model_knows_the_capital_of_france(mlx_python: Path, smol: Path) -> None:
    async with provider(mlx_python) as made:
        loaded, observer = await load(made, smol, LoadConfig(context_length=2048, slots=2))
        assert " Paris" in await text_of(loaded.upstream, "The capital of France is", max_tokens=3)
        assert (loaded.applied["contextLength"], loaded.applied["slots"]) == (2048, 2)
        assert loaded.ignored == ()
        stages = [stage for stage in observer.stages if "(" not in stage]
        assert [stage for stage in dict.fromkeys(stages) if stage != "reading"] == [
            "starting",
            *("loading model", "loading tokenizer", "loading weights"),
        ]
        assert observer.fractions[-1] == 1.0
        assert len(observer.fractions) > 5  # the share grows as it loads
        needed = made.estimate(info(made, smol), LoadConfig(context_length=2048, slots=2))
        assert 0.6 * needed < loaded.size_bytes < 1.1 * needed
        (running,) = await made.instances()
        assert running.instance_id == "tiny"
        with pytest.raises(InstanceConflict):
            await load(made, smol)
        health = await made.health()
        assert health.ok
        assert health.detail.startswith("mlx-lm 0.32")
        await made.unload("tiny")
        assert not own_children()
        assert any("loading weights 1.00" in line for line in made.logs("tiny"))


@pytest.mark.parametrize("settings", [{}, {"kv_bits": 8}])
async def test_a_client_that_leaves_frees_the_slot(mlx_python: Path, endless: Path, settings: dict[str, Any]) -> None:
    """One slot, and an answer that would take hours: the next one comes only if the first was given up."""
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, endless, ENDLESS, **settings)
        upstream = loaded.upstream
        async with stream(upstream, "/v1/completions", prompt="Once", logit_bias={"2": -100}) as chunks:
            assert (await anext(chunks))["choices"]
        assert (await complete(upstream, "Now", max_tokens=2))["usage"]["completion_tokens"] == 2
        stop = await text_of(upstream, "Say", max_tokens=1)
        unending = await complete(upstream, "Say", max_tokens=None, stop=[stop], logit_bias={"2": -100})
        assert unending["choices"][0]["finish_reason"] == "stop"  # a stop string frees it as well


@pytest.mark.req("S4-x6")
async def test_a_draft_model_changes_the_speed_and_not_the_words(mlx_python: Path, tiny: Path, plain: Plain) -> None:
    async with provider(mlx_python) as made:
        asked = LoadConfig(context_length=512, slots=3)
        loaded, _ = await load(made, tiny, asked, draft_model_path=str(tiny), num_draft_tokens=3)
        reply = await complete(loaded.upstream, "Once upon a time", max_tokens=20)
        assert reply["choices"][0]["text"] == plain.text
        assert reply["timings"]["draft_n_accepted"] == 15  # three of four: the fourth is what checked them
        assert loaded.applied["draftTokens"] == 3
        assert [each.key for each in loaded.ignored] == ["slots"]
        form = {"type": "json_schema", "json_schema": {"schema": {"const": "yes"}}}
        reply = await chat(loaded.upstream, "Well?", response_format=form)  # is not guessed ahead
        assert json.loads(reply["choices"][0]["message"]["content"]) == "yes"


@pytest.mark.req("S4-x6")
async def test_few_bits_are_kept_from_a_token_on(
    mlx_python: Path, tiny: Path, smol: Path, tmp_path: Path, plain: Plain
) -> None:
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, tiny, kv_bits=2, kv_group_size=32, quantized_kv_start=64)
        assert loaded.applied == {"contextLength": 512, "slots": 1, "cacheType": "quantized", "kvBits": 2}
        heard = await _heard(loaded.upstream)
        assert heard[0] == plain.heard[0]
        assert heard[1] != plain.heard[1]
        await made.unload("tiny")
        own = tiny_mlx(
            smol, tmp_path / "own", sliding_window=64, layer_types=["sliding_attention", "full_attention"]
        )  # which mlx-lm cannot quantize, and would say so in the midst of an answer
        loaded, _ = await load(made, own, kv_bits=8, quantized_kv_start=0)
        assert loaded.applied["cacheType"] == "standard"
        assert [(each.key, "RotatingKVCache" in each.reason) for each in loaded.ignored] == [("kvBits", True)]
        assert len(await _heard(loaded.upstream)) == 2


@pytest.mark.req("S4-x6", "C14")
async def test_a_cache_that_rotates_forgets_and_what_has_no_effect_is_said(mlx_python: Path, tiny: Path) -> None:
    asked = LoadConfig(
        context_length=4096, slots=2, gpu_layers=3, cpu_threads=2, rope_frequency_base=1e6, flash_attention=True,
        kv_type="q8_0",
    )  # fmt: skip
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, tiny, asked, cache_type="rotating", max_kv_size=64, chat_template="Hi")
        assert loaded.applied == {"contextLength": 512, "slots": 2, "cacheType": "rotating", "maxKvSize": 64}
        assert {each.key for each in loaded.ignored} == {
            *("contextLength", "gpu.layers", "cpuThreads", "ropeFrequencyBase", "flashAttention", "kvType")
        }
        assert Ignored("contextLength", "the model takes 512 tokens at most") in loaded.ignored
        reply = await complete(loaded.upstream, "word " * 200, max_tokens=80)
        assert reply["usage"]["completion_tokens"] == 80
        assert (await chat(loaded.upstream, "x"))["usage"]["prompt_tokens"] == 1  # of the template in its place


def _unknown(folder: Path) -> None:
    _change(folder, model_type="nonsense")


def _other_size(folder: Path) -> None:
    _change(folder, hidden_size=128)


def _no_words(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _foreign_code(folder: Path) -> None:
    _change(folder, model_file="evil.py")
    (folder / "evil.py").write_text("raise SystemExit('it was run')")


def _change(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.req("F-017")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_unknown, "nonsense not supported"),
        (_other_size, "shape"),
        (_no_words, "tokenizer"),
        (_foreign_code, "custom module"),
    ],
)
async def test_why_a_model_cannot_be_loaded(
    mlx_python: Path, tiny: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny, folder)
    spoil(folder)
    async with provider(mlx_python) as made:
        with pytest.raises(LoadFailed) as caught:
            await load(made, folder)
        assert words in caught.value.message
        assert str(tmp_path) not in caught.value.message
        assert not own_children()
