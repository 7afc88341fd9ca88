"""OpenAI's chat and text completions, and LM Studio's /api/v0, which speaks the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from tests.lossless.listener import FUNCTIONS, QUESTION, Clients, Listener, Wire, finished, grow, sse, take
from tests.lossless.said import Told

STOPS = {"stop": "eosFound", "tool_calls": "toolCalls", "length": "contextLengthReached", "content_filter": "failed"}


class OpenAIChat(Listener):
    """/v1/chat/completions."""

    name = "openai-chat"
    passes = True

    def expected(self, said: Told) -> Told:
        return said

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"model": "alpha", "messages": QUESTION, "tools": FUNCTIONS}
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return "/v1/chat/completions", body | more

    def read(self, data: bytes, wire: Wire) -> None:
        calls: dict[int, list[str]] = {}
        for name, text in sse(data):
            if text == "[DONE]":
                wire.ended(well=True)
                continue
            value = json.loads(text)
            if value.get("error"):
                assert name in ("message", "error")
                wire.ended(well=False)
                continue
            assert not wire.over
            self.chunk(value, wire.told, calls)
        if wire.successes:
            wire.told.calls = finished(calls)

    def chunk(self, value: dict[str, Any], told: Told, calls: dict[int, list[str]]) -> None:
        """One chunk of a stream."""
        for choice in value["choices"]:
            delta = choice.get("delta") or {}
            take(told, "text", delta.get("content"))
            take(told, "text", choice.get("text"))
            take(told, "thought", delta.get("reasoning_content"))
            for call in delta.get("tool_calls") or ():
                function = call["function"]
                grow(calls, call["index"], function.get("name"), function.get("arguments"))
            told.stop = choice["finish_reason"] or told.stop
        count(value.get("usage"), told)

    def whole(self, body: dict[str, Any]) -> Told:
        (choice,) = body["choices"]
        message = choice.get("message") or {"content": choice.get("text")}
        told = Told(message["content"] or "", message.get("reasoning_content") or "", stop=choice["finish_reason"])
        calls = message.get("tool_calls") or ()
        told.calls = [(each["function"]["name"], json.loads(each["function"]["arguments"] or "{}")) for each in calls]
        count(body["usage"], told)
        return told

    def client(self, clients: Clients) -> openai.AsyncOpenAI:
        """The library, at this route."""
        return clients.openai

    async def library(self, clients: Clients) -> Told | None:
        state = ChatCompletionStreamState()
        thought = ""
        _, body = self.ask(stream=True)
        try:
            async for chunk in await self.client(clients).chat.completions.create(**body):
                state.handle_chunk(chunk)
                for choice in chunk.choices:
                    thought += (choice.delta.model_extra or {}).get("reasoning_content") or ""
        except openai.APIError:
            return None
        body = state.current_completion_snapshot.to_dict(mode="json")
        return replace(OpenAIChat.whole(self, body), thought=thought)


class OpenAICompletion(OpenAIChat):
    """/v1/completions."""

    name = "openai-completion"
    chat = False

    def expected(self, said: Told) -> Told:
        return replace(said, thought=None, calls=None)

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return "/v1/completions", {"model": "alpha", "prompt": "Well?"} | more

    async def library(self, clients: Clients) -> Told | None:
        told = Told()
        _, body = self.ask(stream=True)
        try:
            async for chunk in await self.client(clients).completions.create(**body):
                self.chunk(chunk.to_dict(mode="json"), told, {})
        except openai.APIError:
            return None
        return told


class V0Chat(OpenAIChat):
    """/api/v0/chat/completions."""

    name = "lmstudio-v0-chat"

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        return "/api/v0/chat/completions", super().ask(stream=stream)[1]

    def chunk(self, value: dict[str, Any], told: Told, calls: dict[int, list[str]]) -> None:
        super().chunk(value, told, calls)
        if "stats" in value:
            assert value["stats"]["stop_reason"] == STOPS[told.stop or ""]

    def whole(self, body: dict[str, Any]) -> Told:
        told = super().whole(body)
        assert body["stats"]["stop_reason"] == STOPS[told.stop or ""]
        return told

    def client(self, clients: Clients) -> openai.AsyncOpenAI:
        return clients.openai_v0


class V0Completion(OpenAICompletion):
    """/api/v0/completions."""

    name = "lmstudio-v0-completion"

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        return "/api/v0/completions", super().ask(stream=stream)[1]

    def client(self, clients: Clients) -> openai.AsyncOpenAI:
        return clients.openai_v0


def count(usage: dict[str, Any] | None, told: Told) -> None:
    """OpenAI's `usage`."""
    if usage:
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        told.prompt, told.answer = usage["prompt_tokens"], usage["completion_tokens"]
        told.cached = usage["prompt_tokens_details"]["cached_tokens"]
        told.thinking = usage.get("completion_tokens_details", {}).get("reasoning_tokens")
