"""Pictures for a model that sees, by a real mlx-vlm. One child for most of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanhaven.types.models import LoadConfig, Upstream
from tests.media.pictures import BLUE, GREEN, RED, asking
from tests.mlx.engine import chat, load, provider, refused, stream, text_of
from tests.mlx.seeing import CHAT, COLORS, look, said, shown
from tests.providers.llamacpp.llama import ask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

QUANTIZED = {"kv_group_size": 32, "quantized_kv_start": 0}
SEEN = list(zip(COLORS, (RED, GREEN, BLUE), strict=True))


@pytest.fixture(scope="module")
async def upstream(mlx_python: Path, seeing: Path) -> AsyncIterator[Upstream]:
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, seeing, LoadConfig(context_length=512, slots=3, kv_type="q8_0"), **QUANTIZED)
        assert (loaded.applied["slots"], loaded.applied["kvBits"]) == (1, 8)
        assert [(each.key, "mlx-vlm" in each.reason) for each in loaded.ignored] == [("slots", True)]
        yield loaded.upstream


@pytest.mark.req("S4-11", "S4-26")
@pytest.mark.parametrize(("name", "color"), SEEN)
async def test_what_it_is_shown_it_says(upstream: Upstream, name: str, color: tuple[int, int, int]) -> None:
    reply = await look(upstream, shown(color, kind="WEBP"), logprobs=True, top_logprobs=3)
    assert said(reply) == f" {name}" * 3
    assert reply["choices"][0]["finish_reason"] == "length"
    usage = reply["usage"]
    assert usage["completion_tokens"] == 3
    (counted,) = (await ask(upstream, f"{CHAT}/input_tokens", {"messages": shown(color)}))[1].values()
    assert usage["prompt_tokens"] == counted > 10
    entry = reply["choices"][0]["logprobs"]["content"][0]
    assert entry["token"] == entry["top_logprobs"][0]["token"] == f" {name}"


async def test_a_stream_says_the_same_and_follows_a_schema(upstream: Upstream) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": [*COLORS]}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    fields = {"stream_options": {"include_usage": True}, "return_progress": True, "response_format": form}
    async with stream(upstream, CHAT, messages=shown(GREEN), max_tokens=40, **fields) as chunks:
        told = [chunk async for chunk in chunks]
    deltas = [choice["delta"] for chunk in told for choice in chunk["choices"]]
    assert json.loads("".join(delta.get("content") or "" for delta in deltas)) == {"colour": "green"}
    progress = [chunk["prompt_progress"] for chunk in told if "prompt_progress" in chunk]
    assert progress[-1]["processed"] == progress[-1]["total"] == told[-1]["usage"]["prompt_tokens"]


async def test_sampling_stops_and_seeds(upstream: Upstream) -> None:
    reply = await look(upstream, shown(RED), max_tokens=20, stop=["d r"])
    assert (said(reply), reply["choices"][0]["finish_reason"]) == (" re", "stop")
    warm = {"temperature": 5, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 8}
    first, again, other = [said(await look(upstream, shown(RED), seed=seed, **warm)) for seed in (4, 4, 5)]
    assert first == again != other
    (red,) = (await ask(upstream, "/tokenize", {"content": " red"}))[1]["tokens"]
    assert " red" not in said(await look(upstream, shown(RED), logit_bias={str(red): -100}))


async def test_pictures_stand_where_they_were_shown(upstream: Upstream) -> None:
    messages = [*shown(RED, "first"), {"role": "assistant", "content": "It is"}, *shown(BLUE, "second")]
    prompt = (await ask(upstream, "/apply-template", {"messages": messages}))[1]["prompt"]
    assert prompt.index("<image>") < prompt.index("first") < prompt.rindex("<image>") < prompt.index("second")
    told = await look(upstream, messages, logprobs=True, top_logprobs=2)
    likeliest = told["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert {each["token"] for each in likeliest} == {" red", " blue"}


async def test_a_text_without_pictures_is_answered(upstream: Upstream) -> None:
    reply = await chat(upstream, "Hello", max_tokens=4)
    assert reply["usage"]["completion_tokens"] == 4
    assert await text_of(upstream, "Hello", max_tokens=4)


@pytest.mark.parametrize("color", [RED, GREEN])
async def test_the_same_picture_is_remembered_and_another_is_not(
    upstream: Upstream, color: tuple[int, int, int]
) -> None:
    """The prompts differ in their pictures only: their tokens are the same."""
    long = "The quick brown fox jumps over the lazy dog. " * 4
    first = await look(upstream, shown(color, long))
    again = await look(upstream, shown(color, long + "Well?"))
    cached = [each["usage"]["prompt_tokens_details"]["cached_tokens"] for each in (first, again)]
    assert cached[0] < 10  # what stands before the picture
    assert 30 < cached[1] < again["usage"]["prompt_tokens"]
    assert said(first) == said(again) == f" {dict(zip((RED, GREEN), COLORS, strict=False))[color]}" * 3


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://127.0.0.1:9/red.png", "fetches nothing"),
        ("file:///etc/passwd", "fetches nothing"),
        ("/etc/passwd", "fetches nothing"),
        ("data:image/png;base64,&&&&", "damaged"),
        ("data:image/png;base64,AAAA", "refuses these pictures"),
    ],
)
async def test_what_is_no_picture_is_refused(upstream: Upstream, source: str, words: str) -> None:
    status, error = await refused(upstream, CHAT, messages=asking(source))
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"]


async def test_a_picture_that_the_context_has_no_room_for(upstream: Upstream) -> None:
    status, error = await refused(upstream, CHAT, messages=shown(RED, "word " * 600))
    assert (status, error["type"]) == (400, "exceed_context_size_error")
