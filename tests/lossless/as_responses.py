"""OpenAI's Responses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
from openai.types.responses import Response

from tests.lossless.listener import QUESTION, SCHEMA, Clients, Listener, Wire, sse, take
from tests.lossless.said import TOOLS, Told

STOPS = {"length": "max_output_tokens", "content_filter": "content_filter"}
ENDS = {"response.completed": True, "response.incomplete": True, "response.failed": False, "error": False}


class Responses(Listener):
    """/v1/responses."""

    name = "responses"
    passes = True

    def expected(self, said: Told) -> Told:
        return replace(said, stop=STOPS.get(said.stop or "", "completed"))

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        tools = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in TOOLS]
        body = {"model": "alpha", "input": QUESTION, "tools": tools, "store": False}
        return "/v1/responses", body | ({"stream": True} if stream else {})

    def read(self, data: bytes, wire: Wire) -> None:
        """The deltas amount to what their `done` says, and that to what the last event holds."""
        texts: dict[tuple[str, str], str] = {}
        told = wire.told
        for number, (name, text) in enumerate(sse(data)):
            event = json.loads(text)
            assert (event["type"], event["sequence_number"]) == (name, number)
            assert not wire.over
            kind, _, what = name.removeprefix("response.").rpartition(".")
            if what == "delta":
                texts[kind, event["item_id"]] = texts.get((kind, event["item_id"]), "") + event["delta"]
                take(told, "text", event["delta"] if kind == "output_text" else "")
                take(told, "thought", event["delta"] if kind == "reasoning_text" else "")
            elif what == "done" and kind in ("output_text", "reasoning_text", "function_call_arguments"):
                whole = event["text"] if "text" in event else event["arguments"]
                assert whole == (texts.get((kind, event["item_id"]), "") or ("" if "text" in event else "{}"))
            elif name == "response.output_item.done" and event["item"]["type"] == "function_call":
                told.calls.append((event["item"]["name"], json.loads(event["item"]["arguments"])))
            elif name in ENDS:
                wire.ended(well=ENDS[name])
                if ENDS[name]:
                    last = self.whole(event["response"])
                    assert (last.text, last.thought, last.calls) == (told.text, told.thought, told.calls)
                    wire.told = last

    def whole(self, body: dict[str, Any]) -> Told:
        Response.model_validate(body)
        told = Told(stop=(body["incomplete_details"] or {}).get("reason") or body["status"])
        for item in body["output"]:
            if item["type"] == "function_call":
                told.calls.append((item["name"], json.loads(item["arguments"])))
                continue
            text = "".join(part["text"] for part in item["content"])
            take(told, "text" if item["type"] == "message" else "thought", text)
        usage = body["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        told.prompt, told.answer = usage["input_tokens"], usage["output_tokens"]
        told.cached = usage["input_tokens_details"]["cached_tokens"]
        told.thinking = usage["output_tokens_details"]["reasoning_tokens"]
        return told

    async def library(self, clients: Clients) -> Told | None:
        _, body = self.ask(stream=False)
        try:
            async with clients.openai.responses.stream(**body) as stream:
                async for event in stream:
                    if event.type == "response.failed":
                        assert event.response.error is not None
                        return None
                    if event.type in ("response.completed", "response.incomplete"):
                        return self.whole(event.response.to_dict(mode="json"))
        except openai.APIError:
            return None
        raise AssertionError("the stream has no end")
