"""Inference jobs, and their route that answers whole."""

from __future__ import annotations

import json
from typing import Any

from tests.lossless.as_openai import OpenAIChat, count
from tests.lossless.listener import FUNCTIONS, QUESTION, Clients, Wire, sse, take
from tests.lossless.said import Told
from tests.serving import House

ROOT = "/api/v1/ai/lmstudio"


class Jobs(OpenAIChat):
    """/api/v1/ai/lmstudio/infer and its stream; whole answers by /api/v1/ai/generate."""

    name = "jobs"

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        path = f"{ROOT}/infer" if stream else "/api/v1/ai/generate"
        return path, {"model": "alpha", "messages": QUESTION, "tools": FUNCTIONS}

    def expected(self, said: Told) -> Told:
        return said

    async def stream(self, house: House) -> Wire:
        path, body = self.ask(stream=True)
        started = await house.http.post(path, json=body)
        reply = await house.http.get(f"{ROOT}/stream/{started.json()['job_id']}")
        wire = Wire(Told())
        self.read(reply.content, wire)
        return wire

    def read(self, data: bytes, wire: Wire) -> None:
        told = wire.told
        for name, text in sse(data):
            event = json.loads(text)
            assert event["type"] == name
            assert not wire.over
            payload = event["payload"]
            match name:
                case "chunk":
                    take(told, "text", payload["content"])
                    take(told, "thought", payload.get("reasoning_content"))
                case "completed":
                    wire.ended(well=True)
                    assert (payload["content"], payload.get("reasoning_content", "")) == (told.text, told.thought)
                    calls = [each["function"] for each in payload.get("tool_calls", ())]
                    told.calls = [(each["name"], json.loads(each["arguments"] or "{}")) for each in calls]
                    told.stop = payload["finish_reason"]
                    count(payload["usage"], told)
                case "failed":
                    assert payload["error"]["message"]
                    wire.ended(well=False)

    async def open(self, house: House, *, stream: bool) -> None:
        """A job goes on without its readers: who wants it to end says so."""
        if not stream:
            await super().open(house, stream=False)
            return
        path, body = self.ask(stream=True)
        started = await house.http.post(path, json=body)
        job_id = started.json()["job_id"]
        try:
            await house.http.get(f"{ROOT}/stream/{job_id}")
        finally:
            await house.http.delete(f"{ROOT}/jobs/{job_id}")

    async def library(self, clients: Clients) -> Told | None:
        """There is none: an EventSource is all that it takes."""
        wire = await self.stream(clients.house)
        return None if wire.failures else wire.told
