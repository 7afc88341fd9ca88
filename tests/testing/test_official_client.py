"""LM Studio's own Python library against MockLMStudio: what people test with it must be what they use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lmstudio
import pytest

from lanhaven.testing import Act, MockLMStudio, MockModel

MODELS = ("qwen3-4b", MockModel("nomic", kind="embedding", dimensions=8), MockModel("slow", load_seconds=0.05))


@pytest.fixture
def studio() -> Iterator[MockLMStudio]:
    with MockLMStudio(*MODELS) as made:
        yield made


@pytest.fixture
def client(studio: MockLMStudio) -> Iterator[lmstudio.Client]:
    with lmstudio.Client(studio.host) as made:
        yield made


@pytest.mark.req("S2-25")
def test_models_are_listed_loaded_and_unloaded(client: lmstudio.Client, studio: MockLMStudio) -> None:
    downloaded = {each.model_key for each in client.list_downloaded_models()}
    assert downloaded == {"qwen3-4b", "nomic", "slow"}
    assert client.list_loaded_models() == []
    told: list[float] = []
    model = client.llm.load_new_instance("slow", "mine", on_load_progress=told.append)
    assert told == sorted(told)
    assert studio.loaded == ("mine",)
    assert [each.identifier for each in client.list_loaded_models()] == ["mine"]
    model.unload()
    assert (studio.loaded, client.list_loaded_models()) == ((), [])
    assert studio.loads["slow"] == 1


@pytest.mark.req("S2-25")
def test_answers_whole_and_in_pieces(client: lmstudio.Client, studio: MockLMStudio) -> None:
    model = client.llm.model("qwen3-4b")
    studio.reply("Hello there.")
    answer = model.respond("Hi", config={"temperature": 0.3, "maxTokens": 20})
    assert (answer.content, answer.stats.stop_reason) == ("Hello there.", "eosFound")
    assert (studio.requests[-1].text, studio.requests[-1].body["temperature"]) == ("Hi", 0.3)
    studio.reply("one two three")
    assert [each.content for each in model.respond_stream("count")] == ["one", " two", " three"]


def test_a_stream_that_is_left_is_cancelled(client: lmstudio.Client, studio: MockLMStudio) -> None:
    model = client.llm.model("qwen3-4b")
    studio.reply(tokens=2000, interval=0.005)
    seen = 0
    with model.respond_stream("count") as stream:
        for _ in stream:
            seen += 1
            stream.cancel()
    assert 0 < seen < 1000
    studio.reply("again")
    assert model.respond("Hi").content == "again"


def test_tools_are_called(client: lmstudio.Client, studio: MockLMStudio) -> None:
    asked: list[tuple[int, int]] = []

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        asked.append((a, b))
        return a + b

    studio.reply(tool="add", arguments={"a": 1, "b": 2})
    studio.reply("It is 3.")
    messages: list[Any] = []
    result = client.llm.model("qwen3-4b").act("How much is 1 + 2?", [add], on_message=messages.append)
    assert (asked, result.rounds) == ([(1, 2)], 2)
    assert messages[-1].content[0].text == "It is 3."
    assert studio.requests[-1].messages[-1]["role"] == "tool"


def test_embeddings_tokens_and_templates(client: lmstudio.Client) -> None:
    assert len(client.embedding.model("nomic").embed("some text")) == 8
    model = client.llm.model("qwen3-4b")
    assert (len(model.tokenize("a b c")), model.count_tokens("a b"), model.get_context_length()) == (3, 2, 8192)
    assert model.apply_prompt_template("Hi") == "<|user|>Hi\n<|assistant|>"


def test_what_fails_is_an_error_of_the_library(client: lmstudio.Client, studio: MockLMStudio) -> None:
    studio.fail_loads("qwen3-4b", "no memory left")
    with pytest.raises(lmstudio.LMStudioServerError, match="no memory left"):
        client.llm.load_new_instance("qwen3-4b")
    studio.fail_loads("qwen3-4b", None)
    with pytest.raises(lmstudio.LMStudioServerError, match="nobody"):
        client.llm.load_new_instance("nobody")
    model = client.llm.model("qwen3-4b")
    studio.reply(do=Act.FIN, at=1)
    with pytest.raises(lmstudio.LMStudioServerError):
        model.respond("one two three")
    assert model.respond("one two three").content == "one two three"


@pytest.mark.anyio
async def test_its_async_client() -> None:
    async with MockLMStudio("qwen3-4b") as studio, lmstudio.AsyncClient(studio.host) as client:
        studio.reply("Hello there.")
        model = await client.llm.model("qwen3-4b")
        assert (await model.respond("Hi")).content == "Hello there."
