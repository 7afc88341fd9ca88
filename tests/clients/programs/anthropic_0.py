"""Anthropic's library of before its API version 2026-10-21: it sends X-Api-Key, the old version and sampling fields.

    python anthropic_0.py URL KEY

Each check that went well is named on a line of its own. Not a test module: tests/conformance/test_programs.py runs it.
"""

from __future__ import annotations

import sys
from typing import Any

import anthropic

URL, KEY = sys.argv[1:3]
ASK: dict[str, Any] = {
    "model": "smollm2",
    "max_tokens": 12,
    "temperature": 0,
    "top_k": 20,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}
client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)


def done(what: str) -> None:
    sys.stdout.write(f"{what}\n")


assert anthropic.__version__.startswith("0.")
message = client.messages.create(**ASK)
assert message.content[0].text.strip()
assert message.content == client.messages.create(**ASK).content  # temperature 0 is honoured
done("a message")

with client.messages.stream(**ASK) as stream:
    streamed = "".join(stream.text_stream)
    final = stream.get_final_message()
assert streamed == message.content[0].text
assert final.usage.output_tokens == message.usage.output_tokens
done("a stream")

called = client.messages.create(**ASK | {"max_tokens": 80}, tools=[TOOL], tool_choice={"type": "any"})
assert [each.name for each in called.content if each.type == "tool_use"] == ["weather"]
done("a tool")
cut = client.messages.create(**ASK | {"max_tokens": 10}, tools=[TOOL], tool_choice={"type": "any"})
assert cut.stop_reason == "max_tokens"
done("a tool that was cut short")

counted = client.messages.count_tokens(**{name: ASK[name] for name in ("model", "system", "messages")})
assert counted.input_tokens == message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
done("a count")

assert "claude-local-smollm2" in [each.id for each in client.models.list()]
done("models")


def refusal(kind: type[anthropic.APIStatusError], **asked: Any) -> str:
    try:
        client.messages.create(**ASK | asked)
    except kind as error:
        return str(error)
    return "it did not fail"


assert "nobody" in refusal(anthropic.NotFoundError, model="nobody")
long = [{"role": "user", "content": "word " * 9000}]
assert "prompt is too long" in refusal(anthropic.BadRequestError, messages=long)
done("errors")
