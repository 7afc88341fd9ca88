"""Ollama's requests as OpenAI requests."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from lanhaven.dialects.ollama.request import read_asked, read_chat, read_generate, seconds_of
from lanhaven.errors import InvalidRequest, UnsupportedFeature

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).decode()


def chat(**fields: Any) -> dict[str, Any]:
    body, _, _ = read_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})
    assert body is not None
    return body


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (0, 0), (300, 300), (-1, -1), ("5m", 300), ("1h30m", 5400), ("-1m", -60), ("0", 0), ("1.5s", 1.5),
     ("250ms", 0.25), ("300", 300), (10**400, 1e12), (-(10**400), -1e12)],
)  # fmt: skip
def test_how_long_to_keep_a_model(given: object, seconds: float | None) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["soon", "5 minutes", "", [], True, "²", "٣m"])
def test_a_time_that_is_none(given: object) -> None:
    with pytest.raises(InvalidRequest, match="keep_alive"):
        seconds_of(given)


def test_options() -> None:
    body, asked, extras = read_chat(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "options": {"temperature": 0.5, "top_k": 4.0, "num_predict": 9, "stop": ["x"], "num_ctx": 4096,
                        "mirostat": 1, "num_gpu": 99, "whatever": True},
            "stream": False,
            "think": "high",
        }
    )  # fmt: skip
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_k": 4,
        "max_tokens": 9,
        "stop": ["x"],
        "reasoning_effort": "high",
    }
    assert (asked.context, asked.stream) == (4096, False)
    assert extras == {"mirostat": 1, "chat_template_kwargs": {"enable_thinking": True}}


def test_no_limit_is_no_limit() -> None:
    assert "max_tokens" not in chat(options={"num_predict": -1})


def test_formats() -> None:
    assert chat(format="json")["response_format"] == {"type": "json_object"}
    schema = {"type": "object"}
    assert chat(format=schema)["response_format"]["json_schema"]["schema"] == schema
    assert "response_format" not in chat(format="")


def test_tool_calls_get_ids_and_results_find_theirs() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {"a": 1}}}

    messages = chat(
        messages=[
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "", "tool_calls": [call("f"), call("g")]},
            {"role": "tool", "tool_name": "g", "content": "2"},
            {"role": "tool", "tool_name": "f", "content": "1"},
        ]
    )["messages"]
    ids = [each["id"] for each in messages[1]["tool_calls"]]
    assert len(set(ids)) == 2
    assert messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert [messages[2]["tool_call_id"], messages[3]["tool_call_id"]] == [ids[1], ids[0]]


def test_pictures_are_bare_base64() -> None:
    content = chat(messages=[{"role": "user", "content": "see", "images": [PNG]}])["messages"][0]["content"]
    assert content == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}},
    ]
    (told,) = chat(messages=[{"role": "user", "content": "", "images": [f"data:image/png;base64,{PNG}"]}])["messages"]
    assert told["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize("image", ["", 3, None, base64.b64encode(b"text" * 9)])
def test_what_is_no_picture(image: object) -> None:
    with pytest.raises(InvalidRequest, match=r"messages\[0\].images\[0\]"):
        chat(messages=[{"role": "user", "content": "see", "images": [image]}])


def test_generate_is_a_chat_of_one_turn() -> None:
    body, asked, _ = read_generate({"model": "m", "prompt": "hi", "system": "brief"})
    assert body is not None
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    assert (asked.chat, asked.stream) == (False, True)


def test_raw_is_a_completion() -> None:
    assert read_generate({"model": "m", "prompt": "hi", "raw": True})[0] == {"model": "m", "prompt": "hi"}


def test_nothing_to_say_is_a_load() -> None:
    assert read_generate({"model": "m"})[0] is None
    assert read_chat({"model": "m", "messages": []})[0] is None


def test_the_old_name_of_the_model() -> None:
    assert read_asked({"name": "m"}, chat=False).model == "m"


@pytest.mark.parametrize("field", ["suffix", "template"])
def test_what_would_answer_something_else(field: str) -> None:
    with pytest.raises(UnsupportedFeature, match=field):
        read_generate({"model": "m", "prompt": "hi", field: "x"})


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"model": 3}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\]"),
        ({"options": []}, "options"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"num_ctx": -4}}, "options.num_ctx"),
        ({"format": 3}, "format"),
        ({"stream": "no"}, "stream"),
    ],
)
def test_what_cannot_be_read(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        chat(**fields)


@pytest.mark.req("F-123", "F-124")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": "x"}, "top_logprobs"),
        ({"options": {"stop": {"a": 1}}}, "options.stop"),
        ({"options": {"stop": ["a", 1]}}, "options.stop"),
        ({"messages": [{"role": "assistant", "content": "x", "thinking": 5}]}, "messages[0].thinking"),
    ],
)
def test_what_an_engine_would_choke_on_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat(**fields)
    assert refused.value.param == param


@pytest.mark.req("F-124")
def test_many_calls_and_results_find_each_other_without_a_search() -> None:
    """Each looked for among all the others would take minutes."""
    names = [f"f{number}" for number in range(30_000)]
    calls = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": each, "function": {"name": each}} for each in names],
    }
    results = [{"role": "tool", "tool_name": each, "content": ""} for each in reversed(names)]
    body = chat(messages=[calls, *results])
    assert [each["tool_call_id"] for each in body["messages"][1:]] == names[::-1]


def test_results_without_names_answer_the_calls_that_are_left_in_their_order() -> None:
    calls = [{"id": str(number), "function": {"name": name}} for number, name in enumerate("abab")]
    results = [{"role": "tool", "content": "", **({"tool_name": name} if name else {})} for name in ("b", "", "", "b")]
    body = chat(messages=[{"role": "assistant", "content": "", "tool_calls": calls}, *results])
    assert [each["tool_call_id"] for each in body["messages"][1:]] == ["1", "0", "2", "3"]
