"""Anthropic's Messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anthropic
from anthropic.types import Message

from tests.lossless.listener import QUESTION, SCHEMA, Clients, Listener, Wire, sse, take
from tests.lossless.said import TOOLS, Told

STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class Messages(Listener):
    """/v1/messages."""

    name = "anthropic"
    passes = True

    def expected(self, said: Told) -> Told:
        stop = "tool_calls" if said.calls else said.stop
        return replace(said, stop=STOPS[stop or ""], thinking=None)

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        tools = [{"name": name, "input_schema": SCHEMA} for name in TOOLS]
        body = {"model": "alpha", "max_tokens": 20000, "messages": QUESTION, "tools": tools}
        return "/v1/messages", body | ({"stream": True} if stream else {})

    def read(self, data: bytes, wire: Wire) -> None:
        """Blocks are numbered in turn and never overlap; each delta belongs to the open one."""
        blocks: list[dict[str, Any]] = []
        pieces: list[str] = []
        begun = open_block = False
        for name, text in sse(data):
            event = json.loads(text)
            assert event["type"] == name
            assert not wire.over
            match event:
                case {"type": "message_start"}:
                    assert not begun
                    begun = True
                case {"type": "content_block_start", "index": index, "content_block": block}:
                    assert (index, open_block) == (len(blocks), False)
                    blocks.append(block)
                    pieces, open_block = [], True
                case {"type": "content_block_delta", "index": index, "delta": delta}:
                    assert (index, open_block) == (len(blocks) - 1, True)
                    pieces.append(delta.get(PIECES.get(delta["type"], ""), ""))
                    _put(blocks[-1], delta)
                    if delta["type"] != "input_json_delta":
                        _grow(wire.told, delta)
                case {"type": "content_block_stop", "index": index}:
                    assert (index, open_block) == (len(blocks) - 1, True)
                    open_block = False
                    if blocks[-1]["type"] == "tool_use":
                        wire.told.calls.append((blocks[-1]["name"], json.loads("".join(pieces) or "{}")))
                case {"type": "message_delta"}:
                    assert not open_block
                    wire.told.stop = event["delta"]["stop_reason"]
                    _count(event["usage"], wire.told)
                case {"type": "message_stop"}:
                    wire.ended(well=True)
                case {"type": "error"}:
                    wire.ended(well=False)
                case {"type": "ping"}:
                    pass
                case other:
                    raise AssertionError(other)

    def whole(self, body: dict[str, Any]) -> Told:
        Message.model_validate(body)
        told = Told(stop=body["stop_reason"])
        for block in body["content"]:
            take(told, "text", block.get("text"))
            take(told, "thought", block.get("thinking"))
            if block["type"] == "tool_use":
                told.calls.append((block["name"], block["input"]))
        _count(body["usage"], told)
        return told

    async def library(self, clients: Clients) -> Told | None:
        _, body = self.ask(stream=False)
        try:
            async with clients.anthropic.messages.stream(**body) as stream:
                message = await stream.get_final_message()
        except anthropic.APIError:
            return None
        return self.whole(message.to_dict(mode="json"))


def _put(block: dict[str, Any], delta: dict[str, Any]) -> None:
    allowed = {
        "text": {"text_delta"},
        "thinking": {"thinking_delta", "signature_delta"},
        "tool_use": {"input_json_delta"},
    }
    assert delta["type"] in allowed[block["type"]]


def _grow(told: Told, delta: dict[str, Any]) -> None:
    take(told, "text", delta.get("text"))
    take(told, "thought", delta.get("thinking"))


def _count(usage: dict[str, Any], told: Told) -> None:
    told.cached = usage["cache_read_input_tokens"]
    told.prompt = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    told.answer = usage["output_tokens"]
