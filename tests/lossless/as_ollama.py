"""Ollama's chat and generate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import ollama

from tests.lossless.listener import FUNCTIONS, QUESTION, Clients, Listener, Wire, take
from tests.lossless.said import Told


class OllamaChat(Listener):
    """/api/chat."""

    name = "ollama-chat"
    passes = True

    def expected(self, said: Told) -> Told:
        return replace(said, stop="length" if said.stop == "length" else "stop", cached=None, thinking=None)

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        return "/api/chat", {"model": "alpha", "messages": QUESTION, "tools": FUNCTIONS, "stream": stream}

    def read(self, data: bytes, wire: Wire) -> None:
        assert data.endswith(b"\n")
        for text in data.decode().splitlines():
            line = json.loads(text)
            if "error" in line:
                wire.ended(well=False)
                continue
            assert not wire.over
            self.line(line, wire.told)
            if line["done"]:
                wire.ended(well=True)

    def line(self, line: dict[str, Any], told: Told) -> None:
        """One line, or the whole answer."""
        part = line.get("message", line)
        take(told, "text", part.get("content"))
        take(told, "text", part.get("response"))
        take(told, "thought", part.get("thinking"))
        for call in part.get("tool_calls") or ():
            told.calls.append((call["function"]["name"], call["function"]["arguments"]))
        if line["done"]:
            told.stop = line["done_reason"]
            told.prompt, told.answer = line["prompt_eval_count"], line["eval_count"]

    def whole(self, body: dict[str, Any]) -> Told:
        assert body["done"] is True
        told = Told()
        self.line(body, told)
        return told

    async def library(self, clients: Clients) -> Told | None:
        _, body = self.ask(stream=True)
        told = Told()
        try:
            async for line in await clients.ollama.chat(**body):
                self.line(line.model_dump(), told)
        except ollama.ResponseError:
            return None
        return told


class OllamaGenerate(OllamaChat):
    """/api/generate."""

    name = "ollama-generate"

    def expected(self, said: Told) -> Told:
        return replace(super().expected(said), calls=None)

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        return "/api/generate", {"model": "alpha", "prompt": "Well?", "stream": stream}

    async def library(self, clients: Clients) -> Told | None:
        _, body = self.ask(stream=True)
        told = Told()
        try:
            async for line in await clients.ollama.generate(**body):
                self.line(line.model_dump(), told)
        except ollama.ResponseError:
            return None
        return told
