"""LM Studio's REST on real engines: what a program written for LM Studio does with it, from the list to the unload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.lmstudio.words import V0Figures, V0List, V1Model, V1Result, events, in_order, names, result_of
from tests.house_process import HouseProcess, running

MODELS = """\
default_model: smollm2
models:
  - {{id: smollm2, provider: llama_cpp, load: {{contextLength: 1024, slots: 1}}, config: {{model_path: {chat}}}}}
  - {{id: minilm, provider: llama_cpp, config: {{model_path: {embedding}}}}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[HouseProcess]:
    models = MODELS.format(chat=json.dumps(str(smollm2)), embedding=json.dumps(str(minilm)))
    with running(tmp_path_factory.mktemp("house"), models) as house:
        yield house


def stream(house: HouseProcess, **body: Any) -> list[dict[str, Any]]:
    reply = house.http.post("/api/v1/chat", json={"model": "smollm2", "stream": True, "temperature": 0, **body})
    assert reply.status_code == 200, reply.text
    return events(reply.text)


def chat(house: HouseProcess, **body: Any) -> V1Result:
    return V1Result.model_validate(house.post("/api/v1/chat", **{"model": "smollm2", "temperature": 0, **body}))


def test_the_lists_of_both_generations(house: HouseProcess) -> None:
    v0 = {each.id: each for each in V0List.model_validate(house.get("/api/v0/models")).data}
    assert (v0["smollm2"].type, v0["smollm2"].arch, v0["smollm2"].quantization) == ("llm", "llama", "Q4_1")
    assert v0["minilm"].type == "embeddings"
    assert v0["smollm2"].max_context_length == 8192
    v1 = {each["key"]: V1Model.model_validate(each) for each in house.get("/api/v1/models")["models"]}
    assert (v1["smollm2"].format, v1["smollm2"].params_string) == ("gguf", "135M")
    assert v1["smollm2"].size_bytes > 90_000_000


def test_load_and_unload(house: HouseProcess) -> None:
    asked = {"model": "smollm2", "context_length": 512, "flash_attention": False, "echo_load_config": True}
    loaded = house.post("/api/v1/models/load", **asked)
    assert loaded["status"] == "loaded"
    assert loaded["load_config"]["context_length"] == 512
    name = loaded["instance_id"]
    v1 = {each["key"]: V1Model.model_validate(each) for each in house.get("/api/v1/models")["models"]}
    assert name in [each.id for each in v1["smollm2"].loaded_instances]
    assert house.post("/api/v1/models/unload", instance_id=name) == {"instance_id": name}
    assert name not in house.loaded()


def test_a_stream_loads_first_and_its_events_come_in_order(house: HouseProcess) -> None:
    if "smollm2" in house.loaded():
        house.unload("smollm2")
    prompt = "Here is a list of words. " * 60
    found = stream(house, input=prompt, max_output_tokens=12)
    assert in_order(found)
    assert {"model_load.start", "model_load.end", "prompt_processing.progress", "message.delta"} <= set(names(found))
    told = [each["progress"] for each in found if each["type"] == "prompt_processing.progress"]
    assert told == sorted(set(told))
    assert told[-1] == 1.0
    result = result_of(found)
    assert result.model_instance_id == "smollm2"
    assert result.text == "".join(each["content"] for each in found if each["type"] == "message.delta")
    assert 0 < result.stats.total_output_tokens <= 12
    assert result.stats.input_tokens > 300
    assert result.stats.time_to_first_token_seconds > 0
    assert result.stats.model_load_time_seconds is not None
    again = stream(house, input="Say yes.", max_output_tokens=4)
    assert in_order(again)
    assert "model_load.start" not in names(again)


def test_whole_and_streamed_answers_are_the_same(house: HouseProcess) -> None:
    ask = {"input": "What is the capital of France?", "max_output_tokens": 12, "store": False}
    whole, streamed = chat(house, **ask), result_of(stream(house, **ask))
    assert whole.text == streamed.text
    assert whole.stats.total_output_tokens == streamed.stats.total_output_tokens
    assert whole.response_id is None


def test_the_conversation_is_remembered(house: HouseProcess) -> None:
    first = chat(house, input="My name is Ada. Remember it.", max_output_tokens=16)
    second = chat(house, input="What is my name?", max_output_tokens=12, previous_response_id=first.response_id)
    assert second.stats.input_tokens > first.stats.input_tokens + first.stats.total_output_tokens
    alone = chat(house, input="What is my name?", max_output_tokens=12)
    assert alone.text != second.text
    assert alone.stats.input_tokens < first.stats.input_tokens


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_tokens": 3}, "maxPredictedTokensReached"),
        ({"stop": ["today"], "max_tokens": 40}, "stopStringFound"),
        ({"max_tokens": -1}, "eosFound"),
    ],
)
def test_v0_says_how_long_it_took_and_why_it_stopped(
    house: HouseProcess, fields: dict[str, Any], reason: str, streamed: bool
) -> None:
    ask = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Hi"}],  # Hello! How can I assist you today?
        "temperature": 0,
        "stream": streamed,
        **fields,
    }
    reply = house.http.post("/api/v0/chat/completions", json=ask)
    assert reply.status_code == 200, reply.text
    assert "__verbose" not in reply.text
    if streamed:
        *_, last, done = [line for line in reply.text.split("\n\n") if line]
        assert done == "data: [DONE]"
        body = json.loads(last.removeprefix("data: "))
    else:
        body = reply.json()
    figures = V0Figures.model_validate(body)
    assert figures.stats.stop_reason == reason
    assert figures.stats.tokens_per_second > 0
    assert figures.stats.time_to_first_token is not None
    assert figures.stats.time_to_first_token > 0
    assert (figures.model_info.arch, figures.model_info.quant, figures.model_info.context_length) == (
        "llama",
        "Q4_1",
        1024,
    )
    assert figures.runtime.name == "lanhaven-llama_cpp"


def test_v0_embeddings_and_completions(house: HouseProcess) -> None:
    vectors = house.post("/api/v0/embeddings", model="minilm", input=["a sea", "a wave"])
    assert [len(each["embedding"]) for each in vectors["data"]] == [384, 384]
    assert vectors["model_info"]["context_length"] == 512
    text = house.post("/api/v0/completions", model="smollm2", prompt="Once upon a", max_tokens=5)
    assert text["choices"][0]["text"]
    V0Figures.model_validate(text)


def test_a_context_that_is_too_small_gets_another_instance(house: HouseProcess) -> None:
    answer = chat(house, input="Say yes.", max_output_tokens=4, context_length=2048)
    assert answer.model_instance_id == "smollm2:2"
    assert house.loaded()["smollm2:2"]["contextLength"] == 2048
    house.unload("smollm2", instanceId="smollm2:2")
