"""Tokens, templates and embeddings over the WebSocket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lanhaven.events import Failure, InferenceComplete
from tests.dialects.lmstudio.frames import MODELS, frames
from tests.dialects.lmstudio.test_prediction import asked, layer, said
from tests.serving import serving

pytestmark = pytest.mark.anyio


def about(name: str, **more: Any) -> dict[str, Any]:
    return {"specifier": {"type": "query", "query": {"identifier": name}}, **more}


async def test_tokens_and_their_number(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        await house.services.gateway.load("alpha")
        tokens = (await client.result("tokenize", about("alpha", inputString="one two three")))["tokens"]
        assert len(tokens) == 3
        assert await client.result("countTokens", about("alpha", inputString="one two three")) == {"tokenCount": 3}
        assert await client.result("countTokens", about("alpha", inputString="")) == {"tokenCount": 0}
        assert {each.dialect for each in house.named(InferenceComplete)} == {"lmstudio"}


async def test_marks_are_asked_for_where_an_embedding_model_is_tokenized(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "embedding") as client:
        await house.services.gateway.load("embed")
        await client.call("tokenize", about("embed", inputString="one"))
        await client.call("countTokens", about("embed", inputString="one"))
        bodies = [each.body for each in house.mock.server("embed").requests if each.path == "/tokenize"]
        assert [each["add_special"] for each in bodies] == [True, False]


async def test_an_embedding(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "embedding") as client:
        await house.services.gateway.load("embed")
        specifier = {"type": "query", "query": {"identifier": "embed"}}
        found = await client.result("embedString", {"modelSpecifier": specifier, "inputString": "sea"})
        assert len(found["embedding"]) == 8
        error = await client.error("embedString", {"specifier": specifier, "inputString": "sea"})
        assert "specifier" in error["title"]


async def test_a_raw_template_is_the_text_itself(tmp_path: Path) -> None:
    raw = asked(layer({}, "completeModeFormatting"), messages=[said("Once "), said("upon")])
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        await house.services.gateway.load("alpha")
        assert await client.result("applyPromptTemplate", about("alpha", **raw)) == {"formatted": "Once upon"}


async def test_a_draft_model_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        await house.services.gateway.load("alpha")
        error = await client.error("preloadDraftModel", about("alpha", draftModelKey="beta"))
        assert "leave draftModel out" in error["suggestion"]
        unknown = await client.error("preloadDraftModel", about("alpha", draftModelKey="nothing"))
        assert unknown["displayData"]["code"] == "generic.pathNotFound"


@pytest.mark.parametrize("endpoint", ["tokenize", "countTokens", "applyPromptTemplate"])
async def test_nothing_is_loaded_for_a_question(tmp_path: Path, endpoint: str) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        error = await client.error(endpoint, about("alpha", inputString="x", **asked()))
        assert error["displayData"]["code"] == "generic.noModelMatchingQuery"
        assert house.mock.loads == {}


async def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        await house.services.gateway.load("alpha")
        assert "inputString" in (await client.error("tokenize", about("alpha", inputString=3)))["title"]
        assert house.named(Failure) == []
