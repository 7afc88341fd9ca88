"""LM Studio's own chats: /api/v1/chat, and a prediction over the WebSocket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lmstudio import Chat, LMStudioServerError
from lmstudio.json_api import ChatResponseEndpoint, PredictionToolCallEvent

from tests.dialects.lmstudio.frames import frames
from tests.dialects.lmstudio.test_prediction import asked, layer, on, said
from tests.dialects.lmstudio.words import V1Result, events
from tests.lossless.listener import FUNCTIONS, Clients, Listener, Wire
from tests.lossless.said import Told
from tests.serving import House

STOPS = {"stop": "eosFound", "tool_calls": "toolCalls", "length": "contextLengthReached", "content_filter": "eosFound"}


class V1Chat(Listener):
    """/api/v1/chat: it has no tools of the client's, and no word for the stop."""

    name = "lmstudio-v1"

    def expected(self, said: Told) -> Told:
        return replace(said, calls=None, stop=None, cached=None)

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        return "/api/v1/chat", {"model": "alpha", "input": "Well?", "store": False, "stream": stream}

    def read(self, data: bytes, wire: Wire) -> None:
        """Deltas between their start and end; the last event holds what they amount to."""
        opened = None
        for event in events(data.decode()):
            assert not wire.successes
            kind, _, what = event["type"].partition(".")
            if kind in ("message", "reasoning"):
                assert opened == (None if what == "start" else kind)
                opened = None if what == "end" else kind
            match event:
                case {"type": "message.delta", "content": text}:
                    wire.told.text += text
                case {"type": "reasoning.delta", "content": text}:
                    wire.told.thought += text
                case {"type": "error"}:
                    wire.failures += 1
                case {"type": "chat.end", "result": result}:
                    last = self.whole(result)
                    assert (last.text, last.thought, opened) == (wire.told.text, wire.told.thought, None)
                    wire.told = last
                    wire.successes += not wire.failures

    def whole(self, body: dict[str, Any]) -> Told:
        result = V1Result.model_validate(body)
        thought = "".join(each.content for each in result.output if each.type == "reasoning")
        stats = result.stats
        counts = {"prompt": stats.input_tokens, "answer": stats.total_output_tokens}
        return Told(result.text, thought, **counts, thinking=stats.reasoning_output_tokens)

    async def library(self, clients: Clients) -> Told | None:
        """There is none for these routes: the strict reader of the tests stands in."""
        wire = await self.stream(clients.house)
        return None if wire.failures else wire.told


class Prediction(Listener):
    """`predict` over the WebSocket. There are no whole answers: the last packet brings what is known."""

    name = "lmstudio-socket"

    def expected(self, said: Told) -> Told:
        stop = "tool_calls" if said.calls else said.stop
        return replace(said, stop=STOPS[stop or ""], cached=None, thinking=None)

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def question(self) -> dict[str, Any]:
        """The creation parameter."""
        tools = layer({"tools": {"type": "toolArray", "tools": FUNCTIONS}, "maxPredictedTokens": on(20000)})
        specifier = {"type": "query", "query": {"identifier": "alpha"}}
        return {"modelSpecifier": specifier, **asked(tools, messages=[said("Well?")])}

    def read(self, data: bytes, wire: Wire) -> None:
        pieces = ""
        for packet in json.loads(data):
            assert not wire.over
            match packet:
                case {"fragment": {"reasoningType": "reasoning", "content": text}}:
                    wire.told.thought += text
                case {"fragment": {"reasoningType": "none", "content": text}}:
                    wire.told.text += text
                case {"type": "toolCallGenerationStart"}:
                    pieces = ""
                case {"type": "toolCallGenerationArgumentFragmentGenerated", "content": text}:
                    pieces += text
                case {"type": "toolCallGenerationEnd", "toolCallRequest": request, "rawContent": raw}:
                    assert raw == pieces
                    assert json.loads(raw or "{}") == request["arguments"]
                    wire.told.calls.append((request["name"], request["arguments"]))
                case {"type": "success", "stats": stats}:
                    wire.ended(well=True)
                    wire.told.stop = stats["stopReason"]
                    wire.told.prompt, wire.told.answer = stats["promptTokensCount"], stats["predictedTokensCount"]
                case {"error": _}:
                    wire.ended(well=False)

    async def stream(self, house: House) -> Wire:
        wire = Wire(Told())
        self.read(json.dumps(await self._packets(house)).encode(), wire)
        return wire

    async def _packets(self, house: House) -> list[dict[str, Any]]:
        async with frames(house.url) as client:
            return await client.channel("predict", self.question())

    async def fold(self, house: House) -> Told | None:
        wire = await self.stream(house)
        return None if wire.failures else wire.told

    async def open(self, house: House, *, stream: bool) -> None:
        await self._packets(house)

    def whole(self, body: dict[str, Any]) -> Told:
        raise NotImplementedError

    async def library(self, clients: Clients) -> Told | None:
        """The packets through the library's own reader."""
        endpoint = ChatResponseEndpoint("alpha", Chat.from_history("Well?"))
        packets = await self._packets(clients.house)
        calls = []
        for packet in packets:
            if "error" in packet:
                assert LMStudioServerError.from_details("", packet["error"])
                return None
            for event in endpoint.iter_message_events(packet):
                endpoint.handle_rx_event(event)
                if isinstance(event, PredictionToolCallEvent):
                    calls.append((event.arg.name, event.arg.arguments or {}))
        result = endpoint.result()
        wire = Wire(Told())
        self.read(json.dumps(packets).encode(), wire)
        assert result.content == "".join(each["fragment"]["content"] for each in packets if "fragment" in each)
        stats = result.stats
        counts = {"prompt": stats.prompt_tokens_count, "answer": stats.predicted_tokens_count}
        return replace(wire.told, calls=calls, stop=stats.stop_reason, **counts)
