"""Bodies that are no JSON, not the right JSON, or too much of it: refused by name before anything is asked of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.events import InferenceStart
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
USER = {"role": "user", "content": "one two"}
PATHS = ("/v1/chat/completions", "/v1/embeddings", "/admin/models/load")


async def send(house: House, body: bytes, path: str = "/v1/chat/completions") -> httpx2.Response:
    return await house.http.post(path, content=body, headers=JSON)


def nested(levels: int) -> bytes:
    """A chat request whose deepest value is that many levels down, its own braces counted."""
    inner = b"[" * (levels - 1) + b"]" * (levels - 1)
    return b'{"messages": [{"role": "user", "content": "one"}], "metadata": ' + inner + b"}"


@pytest.mark.req("F-121")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"{}{}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 1} trailing',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"x" * 1000,
    ],
)
async def test_what_is_not_one_json_object_is_refused(tmp_path: Path, path: str, body: bytes) -> None:
    async with serving(tmp_path) as house:
        reply = await send(house, body, path)
        assert reply.status_code == 400
        assert reply.json()["error"]
        assert house.named(InferenceStart) == []


@pytest.mark.req("F-122")
async def test_sixty_four_levels_pass_and_one_more_does_not(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert (await send(house, nested(64))).status_code == 200
        for levels in (65, 1000, 200_000):
            reply = await send(house, nested(levels))
            assert reply.status_code == 400
            assert "nested" in reply.json()["error"]["message"]


NUMBERS = ["temperature", "top_p", "min_p", "top_k", "max_tokens", "max_completion_tokens", "seed", "n", "top_logprobs",
           "presence_penalty", "frequency_penalty", "repeat_penalty"]  # fmt: skip


@pytest.mark.req("F-123")
@pytest.mark.parametrize("name", NUMBERS)
async def test_a_number_that_makes_no_sense_is_named(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path) as house:
        wrong: tuple[Any, ...] = (-(10**30), 10**30, 1e300, "1", True, [1], {})
        for value in wrong:
            reply = await house.chat(**{name: value})
            assert reply.status_code == 400, (name, value)
            assert reply.json()["error"]["param"] == name
        assert house.named(InferenceStart) == []
        assert (await house.chat(**{name: None})).status_code == 200


@pytest.mark.req("S4-x8")
async def test_the_ranges_of_the_numbers(tmp_path: Path) -> None:
    ranges = {
        "temperature": (0, 2),
        "top_p": (0, 1),
        "min_p": (0, 1),
        "repetition_penalty": (0.1, 2),
    }
    async with serving(tmp_path) as house:
        for name, (low, high) in ranges.items():
            for good in (low, high, (low + high) / 2):
                assert (await house.chat(**{name: good})).status_code == 200
                assert house.sent[name] == good
            for bad in (low - 0.01, high + 0.01):
                reply = await house.chat(**{name: bad})
                assert (reply.status_code, reply.json()["error"]["param"]) == (400, name)
        for whole, good, bad in (("top_k", 0, -2), ("max_tokens", 1, -2), ("seed", 7, 0.5)):
            assert (await house.chat(**{whole: good})).status_code == 200
            assert (await house.chat(**{whole: bad})).json()["error"]["param"] == whole
        await house.chat(repetition_penalty=1.5)
        assert house.sent["repeat_penalty"] == 1.5  # llama.cpp's word for it
        await house.chat(repetition_penalty=1.5, repeat_penalty=1.1)
        assert house.sent["repeat_penalty"] == 1.1


@pytest.mark.req("F-124")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [USER] * 4097}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * (8 * 2**20 + 1)}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"content": "one"}]}, "messages[0]"),
        ({"messages": [USER, "two"]}, "messages[1]"),
        ({"messages": [{"role": "user", "content": ["text"]}]}, "messages[0].content[0]"),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": 5}]}]},
            "messages[1].content[0].text",
        ),
        ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": 5}]}, "messages[1].tool_calls[0]"),
        (
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
                ]
            },
            "messages[1].tool_calls[0]",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": "", "reasoning_content": 5}]},
            "messages[1].reasoning_content",
        ),
        ({"messages": [{**USER, "name": 5}]}, "messages[0].name"),
        ({"messages": [USER], "tools": [{}] * 257}, "tools"),
        ({"messages": [USER], "tools": [{"type": "function", "function": {"name": "x" * 2**20}}]}, "tools"),
        ({"messages": [USER], "stop": ["x"] * 17}, "stop"),
        ({"messages": [USER], "model": ["alpha"]}, "model"),
        ({"messages": [USER], "stream": "yes"}, "stream"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_too_much_or_of_the_wrong_kind_is_named(tmp_path: Path, fields: dict[str, Any], param: str) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/v1/chat/completions", json=fields)
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == param
        assert house.named(InferenceStart) == []


@pytest.mark.req("F-124")
async def test_odd_letters_go_there_and_back(tmp_path: Path) -> None:
    odd = "\u0000\u202e\ufeff\U0001f30d e\u0301\ufffe\u2028\x7f"
    async with serving(tmp_path) as house:
        reply = await house.chat(f"a {odd} b")
        assert house.sent["messages"][0]["content"] == f"a {odd} b"
        assert reply.status_code == 200
        assert (await house.chat(model=odd)).status_code == 404


@pytest.mark.req("F-129", "P26")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_does_not_fit_is_told_with_both_counts(tmp_path: Path, stream: bool) -> None:
    async with serving(tmp_path, "models:\n  - {id: small, provider: mock, config: {context_length: 8}}\n") as house:
        reply = await house.chat("word " * 50, model="small", stream=stream)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (400, "context_length_exceeded")
        assert error["n_prompt_tokens"] >= 50
        assert error["n_ctx"] == 8
        assert reply.headers["x-should-retry"] == "false"


@pytest.mark.req("F-125")
async def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Two readers that take different ones of two values could be played off against each other."""
    user = json.dumps(USER).encode()
    async with serving(tmp_path) as house:
        for body in (
            b'{"model": "nobody", "messages": [' + user + b'], "model": "beta"}',
            b'{"model":"nobody","messages":[' + user + b'],"model":"beta"}',
            b'{"messages": [{"role": "user", "content": "one", "role": "system"}]}',
            b'{"messages": [' + user + b'], "m\\u0065ssages": []}',
            b'{"messages": [' + user + b'], "x\\\\":1, "x\\\\" :2}',
        ):
            reply = await send(house, body)
            assert reply.status_code == 400, body
            assert "stands twice" in reply.json()["error"]["message"]
        assert house.named(InferenceStart) == []
        alike = (
            b'{"messages": [' + user + b'], "metadata": {"messages": "\\": 1, \\": 2", "a": {"b": 1}, "c": {"b": 1}}}'
        )
        assert (await send(house, alike)).status_code == 200
