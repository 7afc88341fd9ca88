"""Tools for a model whose template knows none, in OpenAI's words, over the scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lanhaven.engines.scripted_faults import Act, Fault
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: plain
models:
  - id: plain
    provider: openai
    enabled: true
    config: {{base_url: "{url}/v1", model: alpha, capabilities: [chat]}}
"""
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
CALL = '{"tool_calls": [{"name": "add", "arguments": {"a": 1}}]}'


async def ask(front: House, behind: House, answer: str | Fault, **fields: Any) -> Any:
    """The reply of the front, whose model is the scripted one behind it."""
    await behind.chat()
    behind.mock.server("alpha").script(Fault(text=answer) if isinstance(answer, str) else answer)
    return await front.chat("2 and 3?", tools=TOOLS, **fields)


def chunks(text: str) -> list[dict[str, Any]]:
    frames = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    return [json.loads(frame) for frame in frames[:-1]]


async def test_a_call_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with (
        serving(tmp_path / "b") as behind,
        serving(tmp_path, MODELS.format(url=behind.url)) as front,
    ):
        body = (await ask(front, behind, CALL)).json()
        choice = body["choices"][0]
        assert (body["object"], choice["finish_reason"], choice["message"]["content"]) == (
            "chat.completion", "tool_calls", None,
        )  # fmt: skip
        (call,) = choice["message"]["tool_calls"]
        assert call["function"] == {"name": "add", "arguments": '{"a": 1}'}
        assert body["usage"]["completion_tokens"] > 0
        assert "tools" not in behind.sent
        assert "add" in behind.sent["messages"][0]["content"], "it was told in words"
        assert behind.sent["response_format"]["type"] == "json_schema"


async def test_words_are_words(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with (
        serving(tmp_path / "b") as behind,
        serving(tmp_path, MODELS.format(url=behind.url)) as front,
    ):
        message = (await ask(front, behind, '{"content": "Hello\\nyou"}')).json()["choices"][0]["message"]
        assert message == {"role": "assistant", "content": "Hello\nyou"}


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream(tmp_path: Path, usage: bool) -> None:
    (tmp_path / "b").mkdir()
    async with (
        serving(tmp_path / "b") as behind,
        serving(tmp_path, MODELS.format(url=behind.url)) as front,
    ):
        options = {"stream_options": {"include_usage": True}} if usage else {}
        told = chunks((await ask(front, behind, CALL, stream=True, **options)).text)
        assert len({each["id"] for each in told}) == 1
        deltas = [choice["delta"] for each in told for choice in each["choices"]]
        assert deltas[0]["role"] == "assistant"
        first, *more = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert (first["index"], first["type"], first["function"]) == (0, "function", {"name": "add", "arguments": ""})
        assert first["id"].startswith("call_")
        assert "".join(each["function"]["arguments"] for each in more) == '{"a": 1}'
        assert all(each.keys() == {"index", "function"} for each in more), "id and name come once"
        assert ("usage" in told[-1]) is usage
        assert [choice["finish_reason"] for each in told for choice in each["choices"]][-1] == "tool_calls"


async def test_a_stream_that_breaks_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with (
        serving(tmp_path / "b") as behind,
        serving(tmp_path, MODELS.format(url=behind.url)) as front,
    ):
        reply = await ask(front, behind, Fault(text=CALL, do=Act.FIN, at=1), stream=True)
        assert "[DONE]" not in reply.text
        assert '"error"' in reply.text
