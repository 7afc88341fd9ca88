"""What the mlx child answers, asked as the gateway asks it. One child of a tiny model for all of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lanhaven.types.models import Upstream
from lanhaven.upstream.foreign import from_reply
from tests.mlx.engine import chat, complete, refused, stream, text_of
from tests.providers.llamacpp.llama import ask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 4}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.req("S4-11")
async def test_a_completion_has_what_openai_says_and_llamacpps_times(upstream: Upstream) -> None:
    reply = await complete(upstream, "Once upon a time", max_tokens=5)
    assert (reply["object"], reply["model"]) == ("text_completion", "tiny")
    assert reply["choices"][0]["finish_reason"] == "length"
    assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (4, 5)
    assert reply["timings"]["prompt_n"] + reply["timings"]["cache_n"] == 4
    assert reply["timings"]["predicted_per_second"] > 0


async def test_a_stream_says_the_same_as_the_whole(upstream: Upstream) -> None:
    whole = await chat(upstream, "Hello", max_tokens=20)
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
    body |= {"stream_options": {"include_usage": True}, "return_progress": True}
    async with stream(upstream, "/v1/chat/completions", **body) as chunks:
        told = [chunk async for chunk in chunks]
    deltas = [choice["delta"] for chunk in told for choice in chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert "".join(delta.get("content") or "" for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert told[-2]["choices"][0]["finish_reason"] == "length"
    assert told[-1]["usage"]["completion_tokens"] == 20
    assert told[-1]["timings"]["predicted_n"] == 20
    progress = [chunk["prompt_progress"] for chunk in told if "prompt_progress" in chunk]
    assert progress[-1]["processed"] == progress[-1]["total"] == told[-1]["usage"]["prompt_tokens"]


async def test_no_text_is_cut_within_a_character(upstream: Upstream) -> None:
    """Forced to say signs of three and four bytes, each of which takes the model several tokens."""
    said = "€鱻🜚"
    tokens = (await ask(upstream, "/tokenize", {"content": said}))[1]["tokens"]
    assert len(tokens) > len(said)
    schema = {"type": "json_schema", "json_schema": {"schema": {"const": said}}}
    async with stream(
        upstream, "/v1/chat/completions", messages=[{"role": "user", "content": "x"}], response_format=schema
    ) as chunks:
        pieces = [choice["delta"].get("content") or "" async for chunk in chunks for choice in chunk["choices"]]
    assert json.loads("".join(pieces)) == said
    assert not any("\ufffd" in piece for piece in pieces)


async def test_a_seed_decides(upstream: Upstream) -> None:
    warm = {"temperature": 1.5, "top_k": 0, "top_p": 1, "min_p": 0}
    first, again, other = [
        await text_of(upstream, "Once upon a time", seed=seed, **warm) for seed in (4, 4, 5)
    ]  # one after the other
    assert first == again != other


async def test_several_answers_with_a_seed_differ_and_repeat(upstream: Upstream) -> None:
    fields: dict[str, Any] = {"temperature": 1.5, "top_k": 0, "seed": 4, "n": 2, "max_tokens": 8}
    told = [[choice["text"] for choice in (await complete(upstream, "A", **fields))["choices"]] for _ in range(2)]
    assert told[0] == told[1]
    assert told[0][0] != told[0][1]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stop_string_over_two_tokens_ends_the_answer_before_it(upstream: Upstream, streamed: bool) -> None:
    reply = await complete(upstream, "Stop here", logprobs=0)
    tokens = [entry["token"] for entry in reply["choices"][0]["logprobs"]["content"]]
    stop = tokens[3][-1:] + tokens[4][:2]
    text = "".join(tokens)
    expected = text[: text.index(stop)]
    if not streamed:
        (choice,) = (await complete(upstream, "Stop here", stop=[stop], verbose=True))["choices"]
        assert (choice["text"], choice["finish_reason"]) == (expected, "stop")
        return
    async with stream(upstream, "/v1/completions", prompt="Stop here", stop=stop, max_tokens=12) as chunks:
        choices = [choice async for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["text"] for choice in choices) == expected
    assert choices[-1]["finish_reason"] == "stop"


async def test_logprobs_are_those_of_the_likeliest_tokens(upstream: Upstream) -> None:
    reply = await chat(upstream, "Hi", logprobs=True, top_logprobs=3, max_tokens=4)
    entries = reply["choices"][0]["logprobs"]["content"]
    assert len(entries) == 4
    for entry in entries:
        assert entry["token"] == entry["top_logprobs"][0]["token"]
        assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] <= 0
        assert [each["logprob"] for each in entry["top_logprobs"]] == sorted(
            (each["logprob"] for each in entry["top_logprobs"]), reverse=True
        )


async def test_a_bias_forces_a_token(upstream: Upstream) -> None:
    (token,) = (await ask(upstream, "/tokenize", {"content": " Paris"}))[1]["tokens"]
    assert await text_of(upstream, "x", logit_bias={str(token): 100}, max_tokens=2) == " Paris Paris"
    penalty = {"logit_bias": {str(token): 30}, "frequency_penalty": 40.0}
    assert (await text_of(upstream, "x", max_tokens=3, **penalty)).count(" Paris") < 3


@pytest.mark.req("S4-11")
@pytest.mark.parametrize("form", ["json_schema", "json_object"])
async def test_an_answer_follows_a_schema(upstream: Upstream, form: str) -> None:
    given: dict[str, Any] = {"type": form, "json_schema": {"name": "p", "schema": PERSON}}
    given = given if form == "json_schema" else {"type": form, "schema": PERSON}
    reply = await chat(upstream, "Who?", response_format=given, temperature=1, max_tokens=60)
    person = json.loads(reply["choices"][0]["message"]["content"])
    assert set(person) == {"name", "age"}
    assert 1 <= person["age"] <= 99
    assert reply["choices"][0]["finish_reason"] == "stop"


async def test_an_answer_follows_a_grammar(upstream: Upstream) -> None:
    assert await text_of(upstream, "Which?", grammar='root ::= "red" | "blue"') in {"red", "blue"}


async def test_a_tool_that_must_be_called_is_called(upstream: Upstream) -> None:
    reply = await chat(upstream, "Go", tools=[WEATHER], tool_choice="required", max_tokens=60)
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)
    assert choice["message"]["content"] is None


async def test_tools_stand_in_the_prompt_unless_none_may_be_called(upstream: Upstream) -> None:
    body = {"messages": [{"role": "user", "content": "Go"}], "tools": [WEATHER]}
    assert "weather" in (await ask(upstream, "/apply-template", body))[1]["prompt"]
    assert "weather" not in (await ask(upstream, "/apply-template", {**body, "tool_choice": "none"}))[1]["prompt"]


async def test_a_conversation_with_calls_is_a_prompt_and_is_counted(upstream: Upstream) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Go"}, {"type": "text", "text": " on"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]
    prompt = (await ask(upstream, "/apply-template", {"messages": messages}))[1]["prompt"]
    assert '{"name": "weather", "arguments": {"city": "Rome"}}' in prompt
    assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nGo on<|im_end|>\n")
    count = (await ask(upstream, "/v1/chat/completions/input_tokens", {"messages": messages}))[1]["input_tokens"]
    assert count == len((await ask(upstream, "/tokenize", {"content": prompt}))[1]["tokens"])


async def test_a_last_message_of_the_assistant_is_gone_on_with(upstream: Upstream) -> None:
    messages = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "It is"}]
    assert (await ask(upstream, "/apply-template", {"messages": messages}))[1]["prompt"].endswith("\nIt is")


async def test_tokens_and_back(upstream: Upstream) -> None:
    tokens = (await ask(upstream, "/tokenize", {"content": "Hello you"}))[1]["tokens"]
    assert (await ask(upstream, "/detokenize", {"tokens": tokens}))[1]["content"] == "Hello you"
    assert await text_of(upstream, "Hello you") == await text_of(upstream, tokens)  # type: ignore[arg-type]


@pytest.mark.req("S4-11")
async def test_four_at_once_are_computed_together_and_say_what_each_says_alone(upstream: Upstream) -> None:
    prompts = ["One", "Two and three", "Four", "Five, six, seven"]
    alone = [await text_of(upstream, prompt, max_tokens=24) for prompt in prompts]
    order: list[int] = []

    async def read(place: int) -> str:
        async with stream(upstream, "/v1/completions", prompt=prompts[place], max_tokens=24) as chunks:
            text = ""
            async for chunk in chunks:
                order.append(place)
                text += "".join(choice["text"] for choice in chunk["choices"])
            return text

    assert await asyncio.gather(*map(read, range(4))) == alone
    first_end = min(len(order) - 1 - order[::-1].index(place) for place in range(4))
    assert set(order[:first_end]) == {0, 1, 2, 3}  # all were at it before the first was done


async def test_a_prompt_that_was_computed_is_remembered(upstream: Upstream) -> None:
    long = "The quick brown fox jumps over the lazy dog and " * 6
    first = await complete(upstream, long + "then", max_tokens=6)
    second = await complete(upstream, long + "there", max_tokens=6)
    again = await complete(upstream, long + "then", max_tokens=6)
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 50 < cached < second["usage"]["prompt_tokens"]
    assert second["timings"]["cache_n"] == cached
    assert again["choices"][0]["text"] == first["choices"][0]["text"]


async def test_a_prompt_beyond_the_context_is_told_with_both_numbers(upstream: Upstream) -> None:
    status, error = await refused(upstream, "/v1/completions", prompt="word " * 600, stream=True)
    assert (status, error["type"], error["n_ctx"]) == (400, "exceed_context_size_error", 512)
    ours = from_reply(status, {}, json.dumps({"error": error}).encode(), "tiny")
    assert (ours.code, ours.facts["n_prompt_tokens"]) == ("context_length_exceeded", error["n_prompt_tokens"])


async def test_an_answer_ends_where_the_context_does(upstream: Upstream) -> None:
    reply = await complete(upstream, "word " * 500, max_tokens=100)
    assert reply["usage"]["total_tokens"] == 512
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/embeddings", {"input": "x"}, 501, "does not support embeddings"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages is empty"),
        ("/v1/chat/completions", {"messages": "x"}, 400, "messages must be a list"),
        ("/v1/completions", {"prompt": ""}, 400, "the prompt is empty"),
        ("/v1/completions", {"prompt": [10**9]}, 400, "a token that the model does not know"),
        ("/v1/completions", {"prompt": {}}, 400, "prompt must be a text"),
        ("/v1/completions", {"prompt": "x", "temperature": "hot"}, 400, "temperature must be a number"),
        ("/v1/completions", {"prompt": "x", "n": 0}, 400, "n must be a whole number"),
        ("/v1/completions", {"prompt": "x", "stop": 3}, 400, "stop must be a text"),
        ("/v1/completions", {"prompt": "x", "grammar": "root ::= ("}, 400, "grammar"),
        ("/v1/completions", {"prompt": "x", "json_schema": {"type": "nonsense"}}, 400, "JSON schema"),
        ("/v1/completions", {"prompt": "x", "response_format": {"type": "xml"}}, 400, "response_format"),
        ("/nothing", {}, 404, "There is no /nothing"),
    ],
)
async def test_what_is_wrong_is_said(
    upstream: Upstream, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    got, error = await refused(upstream, path, **body)
    assert got == status, error
    assert words in error["message"]


async def test_a_picture_is_refused_with_a_remedy(upstream: Upstream) -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    status, error = await refused(upstream, "/v1/chat/completions", messages=[{"role": "user", "content": content}])
    assert status == 400
    assert "image input is not supported" in error["message"]
    assert "llama_cpp" in error["message"]


async def test_nobody_else_may_ask(upstream: Upstream) -> None:
    assert (await ask(Upstream("tiny", socket=upstream.socket), "/v1/models"))[0] == 401
    assert (await ask(upstream, "/v1/models"))[1]["data"][0]["id"] == "tiny"
