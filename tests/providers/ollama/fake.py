"""An Ollama in small on a real socket: the routes that the provider uses, in Ollama's own words. It keeps what it saw."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

CHAT, VECTORS = "qwen3:8b", "nomic-embed-text:latest"
SHOWN: dict[str, dict[str, Any]] = {
    CHAT: {
        "capabilities": ["completion", "tools", "thinking", "insert"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960, "qwen3.block_count": 36},
    },
    VECTORS: {
        "capabilities": ["embedding"],
        "model_info": {"general.architecture": "nomic-bert", "nomic-bert.context_length": 2048},
    },
}


def tag(name: str, digest: str = "d1") -> dict[str, Any]:
    details = {"format": "gguf", "family": "qwen3", "quantization_level": "Q4_K_M", "parameter_size": "8.2B"}
    return {"name": name, "model": name, "size": 5_000_000, "digest": digest, "details": details}


@dataclass
class FakeOllama:
    """The knobs are public; `seen` holds (path, body) in order."""

    key: str | None = None
    tags: list[dict[str, Any]] = field(default_factory=lambda: [tag(CHAT), tag(VECTORS)])
    shown: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(SHOWN))
    loaded: dict[str, int] = field(default_factory=dict)  # name -> context
    gate: asyncio.Event | None = None  # a load waits for it
    listing: asyncio.Event | None = None  # and so does a list of what is loaded
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a load's client went away
    raw: bytes | None = None  # what every answer is instead
    seen: list[tuple[str, Any]] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        body: Any = await request.json() if request.can_read_body else None
        self.seen.append((request.path, body))
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "unauthorized"}, status=401)
        if self.raw is not None:
            return web.Response(body=self.raw)
        match request.path:
            case "/api/version":
                return web.json_response({"version": "0.17.2"})
            case "/api/tags":
                return web.json_response({"models": self.tags})
            case "/api/ps":
                if self.listing is not None:
                    await self.listing.wait()
                if self.raw is not None:
                    return web.Response(body=self.raw)
                models = [
                    {**tag(name), "size": 6_000_000, "context_length": context, "expires_at": "2318-01-01T00:00:00Z"}
                    for name, context in self.loaded.items()
                ]
                return web.json_response({"models": models})
        name = body["model"]
        if name not in self.shown:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        if request.path == "/api/show":
            return web.json_response(self.shown[name])
        return await self._run(request.path, name, body)

    async def _run(self, path: str, name: str, body: Any) -> web.Response:
        if body.get("keep_alive") == 0:
            self.loaded.pop(name, None)
            return web.json_response({"model": name, "done": True, "done_reason": "unload"})
        if path == "/api/generate" and "completion" not in self.shown[name]["capabilities"]:
            return web.json_response({"error": f"{name!r} does not support generate"}, status=400)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.left.set()
                raise
        self.loaded[name] = body["options"].get("num_ctx", 4096)
        return web.json_response({"model": name, "done": True, "done_reason": "load"})
