"""The official openai SDK against a real server with a real model, over real sockets."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence

import httpx2
import openai as sdk
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tests.conformance.conftest import House

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.req("S0-38", "S0-39", "S0-41", "S1-05")
def test_a_chat_is_answered(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=24)
    assert reply.object == "chat.completion"
    assert reply.id.startswith("chatcmpl-")
    assert reply.model == "smollm2"
    assert reply.created > 1_600_000_000
    choice = reply.choices[0]
    assert choice.message.role == "assistant"
    assert (choice.message.content or "").strip()
    assert choice.finish_reason in ("stop", "length")
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.prompt_tokens > 5


@pytest.mark.req("S0-43", "S0-39")
def test_a_request_without_a_model_goes_to_the_active_one(http: httpx2.Client) -> None:
    reply = http.post("/v1/chat/completions", json={"messages": QUESTION, "max_tokens": 4})
    assert reply.status_code == 200
    assert reply.json()["model"] == "smollm2"


@pytest.mark.req("C24")
@pytest.mark.parametrize("name", ["small", "smollm2-135m-instruct", "smollm2:latest", "default", "auto"])
def test_every_name_of_a_model_reaches_it(openai: OpenAI, name: str) -> None:
    reply = openai.chat.completions.create(model=name, messages=QUESTION, max_tokens=2)
    assert reply.model == "smollm2"


@pytest.mark.req("S0-42", "S4-18")
def test_a_stream_has_openais_shape(openai: OpenAI) -> None:
    chunks = list(
        openai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=16, stream=True)
    )
    first = chunks[0]
    assert first.object == "chat.completion.chunk"
    assert first.choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in chunks} == {first.id}
    assert all(chunk.choices for chunk in chunks), "no usage chunk unless it is asked for"
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-1])


def test_a_stream_says_the_same_as_a_whole_reply(openai: OpenAI) -> None:
    whole = openai.chat.completions.create(model="smollm2", messages=QUESTION, temperature=0, max_tokens=16, seed=7)
    parts = openai.chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=16, seed=7, stream=True
    )
    assert "".join(text_of(chunk) for chunk in parts) == whole.choices[0].message.content


def text_of(chunk: ChatCompletionChunk) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def test_usage_comes_with_a_stream_when_asked_for(openai: OpenAI) -> None:
    chunks = list(
        openai.chat.completions.create(
            model="smollm2", messages=QUESTION, max_tokens=5, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 5
    assert usage.total_tokens == usage.prompt_tokens + 5


@pytest.mark.req("S0-42")
def test_the_bytes_of_a_stream_end_with_done(http: httpx2.Client) -> None:
    body = {"model": "smollm2", "messages": QUESTION, "max_tokens": 3, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["x-request-id"].startswith("req_")
        lines = [line for line in reply.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"


@pytest.mark.req("S1-06", "S0-38")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": QUESTION, "max_tokens": 2}),
        ("/completions", {"prompt": "Once", "max_tokens": 2}),
        ("/embeddings", {"model": "minilm", "input": "sea"}),
    ],
)
def test_paths_without_v1_do_the_same(http: httpx2.Client, path: str, body: dict[str, object]) -> None:
    short, long = http.post(path, json=body), http.post(f"/v1{path}", json=body)
    assert short.status_code == long.status_code == 200
    assert short.json().keys() == long.json().keys()


@pytest.mark.req("S1-06", "C9")
@pytest.mark.parametrize("path", ["/images/generations", "/audio/transcriptions", "/audio/translations"])
def test_what_no_provider_can_do_is_a_501(http: httpx2.Client, path: str) -> None:
    for prefix in ("", "/v1"):
        reply = http.post(prefix + path, json={"prompt": "a cat"})
        assert reply.status_code == 501
        assert reply.json()["error"]["code"] == "capability_unavailable"


@pytest.mark.req("S0-46")
def test_text_completion(openai: OpenAI) -> None:
    reply = openai.completions.create(model="smollm2", prompt="Once upon a time", max_tokens=5, temperature=0)
    assert reply.object == "text_completion"
    assert reply.id
    assert reply.choices[0].finish_reason == "length"
    assert reply.choices[0].logprobs is None
    assert reply.choices[0].text
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 5


def test_text_completion_logprobs_have_openais_shape(openai: OpenAI) -> None:
    reply = openai.completions.create(model="smollm2", prompt="The sea is", max_tokens=3, temperature=0, logprobs=2)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.tokens or []) == len(logprobs.token_logprobs or []) == len(logprobs.top_logprobs or []) == 3
    assert "".join(logprobs.tokens or []) == reply.choices[0].text
    assert logprobs.text_offset is not None
    assert logprobs.text_offset[0] == 0
    assert all(value is not None and value <= 0 for value in logprobs.token_logprobs or [])


def test_chat_logprobs(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="smollm2", messages=QUESTION, max_tokens=3, temperature=0, logprobs=True, top_logprobs=2
    )
    content = (reply.choices[0].logprobs and reply.choices[0].logprobs.content) or []
    assert len(content) == 3
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in content)


def test_stop_ends_before_the_word(openai: OpenAI) -> None:
    def tell(**stop: list[str]) -> tuple[str, str]:
        reply = openai.chat.completions.create(
            model="smollm2", messages=QUESTION, temperature=0, max_tokens=20, seed=1, extra_body=stop
        )
        return reply.choices[0].message.content or "", reply.choices[0].finish_reason

    whole, _ = tell()
    word = whole.split()[2]
    cut, reason = tell(stop=[word])
    assert cut == whole[: whole.index(word)]
    assert reason == "stop"


def test_a_seed_repeats_and_another_does_not(openai: OpenAI) -> None:
    def tell(seed: int) -> str:
        reply = openai.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Tell me something surprising."}],
            temperature=1.5,
            max_tokens=24,
            seed=seed,
        )
        return reply.choices[0].message.content or ""

    assert tell(3) == tell(3)
    assert len({tell(seed) for seed in (1, 2, 3)}) > 1


def test_n_gives_that_many_choices(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="smollm2", messages=QUESTION, max_tokens=4, n=2, temperature=1)
    assert sorted(choice.index for choice in reply.choices) == [0, 1]


def test_json_schema_is_obeyed(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Invent a person."}],
        temperature=0,
        max_tokens=80,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}},
    )
    person = json.loads(reply.choices[0].message.content or "")
    assert set(person) == {"name", "age"}
    assert 0 <= person["age"] <= 99


def test_json_object_is_json(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": 'Answer with the JSON object {"ok": true} and nothing else.'}],
        temperature=0,
        max_tokens=60,
        response_format={"type": "json_object"},
    )
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)
    else:
        assert (reply.choices[0].message.content or "").lstrip().startswith("{")


@pytest.mark.req("S0-47")
def test_embeddings_as_lists_and_as_base64_agree(openai: OpenAI, http: httpx2.Client) -> None:
    floats = openai.embeddings.create(model="minilm", input="The sea is calm.", encoding_format="float")
    assert floats.object == "list"
    assert floats.data[0].object == "embedding"
    assert floats.usage.prompt_tokens == floats.usage.total_tokens > 0
    vector = floats.data[0].embedding
    raw = http.post(
        "/v1/embeddings", json={"model": "minilm", "input": "The sea is calm.", "encoding_format": "base64"}
    )
    packed = base64.b64decode(raw.json()["data"][0]["embedding"])
    assert struct.unpack(f"<{len(packed) // 4}f", packed) == pytest.approx(vector, abs=1e-6)
    default = openai.embeddings.create(model="minilm", input="The sea is calm.")
    assert default.data[0].embedding == pytest.approx(vector, abs=1e-6)


def test_embeddings_mean_something(openai: OpenAI) -> None:
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."]
    vectors = [each.embedding for each in openai.embeddings.create(model="minilm", input=texts).data]
    assert len(vectors) == 3
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]) + 0.3
    assert dot(vectors[0], vectors[0]) == pytest.approx(1, abs=1e-4)


def test_embeddings_are_cut_and_normalised(openai: OpenAI) -> None:
    whole = openai.embeddings.create(model="minilm", input="sea").data[0].embedding
    cut = openai.embeddings.create(model="minilm", input="sea", dimensions=64).data[0].embedding
    assert len(cut) == 64
    assert dot(cut, cut) == pytest.approx(1, abs=1e-5)
    norm = math.sqrt(dot(whole[:64], whole[:64]))
    assert cut == pytest.approx([x / norm for x in whole[:64]], abs=1e-5)


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.req("S1-05", "C13")
def test_models_are_listed_loaded_or_not(openai: OpenAI) -> None:
    models = {model.id: model for model in openai.models.list()}
    assert {"smollm2", "minilm", "down"} <= set(models)
    assert models["smollm2"].object == "model"
    assert models["smollm2"].owned_by == "llama_cpp"
    assert openai.models.retrieve("smollm2").id == "smollm2"
    assert openai.models.retrieve("small").id == "small"


class TestErrors:
    """Every class of error that the SDK knows, and what it then does."""

    def test_wrong_key(self, house: House) -> None:
        with (
            house.openai(api_key="sk-wrong-0000000000000000") as client,
            pytest.raises(sdk.AuthenticationError) as caught,
        ):
            client.models.list()
        assert caught.value.code == "invalid_api_key"

    @pytest.mark.req("C24")
    def test_unknown_model(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.NotFoundError) as caught:
            openai.chat.completions.create(model="nothing-like-it", messages=QUESTION)
        assert caught.value.code == "model_not_found"
        assert caught.value.response.headers["x-should-retry"] == "false"

    def test_unknown_model_in_the_list(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.NotFoundError):
            openai.models.retrieve("nothing-like-it")

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"messages": []}, "messages"),
            ({"messages": "hello"}, "messages"),
            ({"temperature": "hot"}, "temperature"),
            ({"temperature": -1}, "temperature"),
            ({"max_tokens": -5}, "max_tokens"),
            ({"top_p": 3}, "top_p"),
            ({"n": 99}, "n"),
            ({"stop": [1]}, "stop"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]},
             "messages[0].content[0].image_url"),
        ],
    )  # fmt: skip
    def test_bad_fields_are_named(self, openai: OpenAI, fields: dict[str, object], param: str) -> None:
        body = {"model": "smollm2", "messages": QUESTION, **fields}
        with pytest.raises(sdk.BadRequestError) as caught:
            openai.post("/chat/completions", cast_to=object, body=body)
        assert caught.value.param == param

    def test_a_bad_schema_is_the_clients_fault(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.BadRequestError):
            openai.chat.completions.create(
                model="smollm2",
                messages=QUESTION,
                response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}},
            )

    def test_a_prompt_longer_than_the_context(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.BadRequestError) as caught:
            openai.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "sea " * 4000}])
        error = caught.value
        assert error.code == "context_length_exceeded"
        assert isinstance(error.body, dict)
        assert error.body["n_ctx"] == 2048
        assert error.body["n_prompt_tokens"] > 2048
        assert "--context" in error.message
        assert error.response.headers["x-should-retry"] == "false"

    def test_a_prompt_longer_than_the_context_streaming(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.BadRequestError):
            openai.chat.completions.create(
                model="smollm2", messages=[{"role": "user", "content": "sea " * 4000}], stream=True
            )

    def test_the_wrong_kind_of_model(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.BadRequestError) as chat:
            openai.chat.completions.create(model="minilm", messages=QUESTION)
        assert "smollm2" in chat.value.message
        with pytest.raises(sdk.BadRequestError) as embedding:
            openai.embeddings.create(model="smollm2", input="x")
        assert "minilm" in embedding.value.message

    def test_an_upstream_that_is_down(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.InternalServerError) as caught:
            openai.chat.completions.create(model="down", messages=QUESTION)
        assert caught.value.status_code == 503
        assert caught.value.code == "upstream_unreachable"
        assert "127.0.0.1:9" not in caught.value.message

    def test_not_json(self, http: httpx2.Client) -> None:
        reply = http.post("/v1/chat/completions", content=b"{nonsense", headers={"content-type": "application/json"})
        assert reply.status_code == 400
        assert reply.json()["error"]["type"] == "invalid_request_error"

    def test_wrong_method(self, http: httpx2.Client) -> None:
        reply = http.get("/v1/chat/completions")
        assert reply.status_code == 405
        assert reply.json()["error"]["code"] == "method_not_allowed"

    def test_every_error_has_a_request_id(self, http: httpx2.Client) -> None:
        reply = http.post("/v1/chat/completions", json={"model": "nothing", "messages": QUESTION})
        assert reply.headers["x-request-id"].startswith("req_")
