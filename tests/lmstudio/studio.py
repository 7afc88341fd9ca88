"""A scripted LM Studio on a real socket: its WebSockets, its REST API and its OpenAI routes, on one port.

Frames are those of lmstudio-js 1.5.0 and lmstudio-python 1.5.0 against a real one. It can be killed and started again, refuse,
stall, speak garbage; it keeps what it has seen.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

from tests.lmstudio.words import CHAT, EMBEDDING, MODELS, SEEING, no_model, not_loaded

__all__ = ["CHAT", "EMBEDDING", "SEEING", "Studio"]


@dataclass
class Instance:
    """A loaded one."""

    info: dict[str, Any]
    fields: list[dict[str, Any]]

    @property
    def namespace(self) -> str:
        return "embedding" if self.info["type"] == "embedding" else "llm"


@dataclass
class Studio:
    """The knobs are public; `seen` holds (namespace, frame) in order, `rest` (method, path, body)."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [dict(each) for each in MODELS])
    token: tuple[str, str] | None = None  # who may come in
    refuses: int | None = None  # status for WebSocket upgrades
    redirects: str | None = None  # where everything is sent on to
    greeting: str | bytes | None = '{"success": true}'  # what it says to whom it lets in; None: it hangs up
    mute: set[str] = field(default_factory=set)  # endpoints that are never answered
    stalls: set[str] = field(default_factory=set)  # endpoints upon which the connection is read no more, once
    garbage: dict[str, str | bytes] = field(default_factory=dict)  # endpoint -> what comes instead of an answer, once
    drops: set[str] = field(default_factory=set)  # endpoints upon which the connection is closed, once
    load_error: dict[str, Any] | None = None
    numbers: tuple[float, ...] = (0.0, 0.5, 1.0)  # progress of a load
    gate: asyncio.Event | None = None  # a load waits for it after its first progress
    ends_early: bool = False  # a load's channel is closed without a result
    deaf: bool = False  # a load cannot be cancelled
    before_answer: tuple[str, ...] = ()  # frames that come, unasked, before every answer
    has_rest: bool = True
    rest_reply: str | None = None  # instead of the list of models
    tls: ssl.SSLContext | None = None
    loaded: dict[str, Instance] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rest: list[tuple[str, str, Any]] = field(default_factory=list)
    chats: list[tuple[dict[str, Any], str | None]] = field(default_factory=list)  # body, Authorization
    opened: Counter[str] = field(default_factory=Counter)  # WebSockets by namespace
    loading: asyncio.Event = field(default_factory=asyncio.Event)
    stream_gate: asyncio.Event | None = None  # a stream waits for it after its first piece
    streaming: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _pulse: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _open: set[Any] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Life

    async def start(self) -> Self:
        app = web.Application(middlewares=[self._remember])
        app.router.add_get("/{namespace:(llm|embedding|system)}", self._socket)
        app.router.add_get("/lms-status", self._status)
        app.router.add_get("/api/v1/models", self._rest_models)
        app.router.add_post("/api/v1/models/load", self._rest_load)
        app.router.add_post("/api/v1/models/unload", self._rest_unload)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embed)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def kill(self, *, forget: bool = True) -> None:
        """Be gone, as a process is that was killed; what was loaded is then loaded no more."""
        for task in tuple(self._tasks):
            task.cancel()
        for transport in tuple(self._open):
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if forget:
            self.loaded.clear()

    def hang_up(self) -> None:
        """Every connection breaks."""
        for transport in tuple(self._open):
            transport.abort()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @web.middleware
    async def _remember(self, request: web.Request, handler: Any) -> web.StreamResponse:
        transport: Any = request.transport
        self._open.add(transport)
        try:
            if self.redirects is not None:
                raise web.HTTPFound(self.redirects + request.path)
            reply: web.StreamResponse = await handler(request)
            return reply
        finally:
            self._open.discard(transport)

    # What somebody does in its window

    def load_by_hand(self, key: str, identifier: str | None = None) -> None:
        self._put(key, identifier or key, [])

    def unload_by_hand(self, identifier: str) -> None:
        del self.loaded[identifier]

    def _put(self, key: str, identifier: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
        info = next(each for each in self.models if each["modelKey"] == key)
        said = {each["key"].partition(".load.")[2]: each["value"] for each in fields}
        full = {
            **info,
            "identifier": identifier,
            "instanceReference": f"ref-{len(self.seen)}-{identifier}",
            "contextLength": said.get("contextLength", 4096),
            "ttlMs": None,
            "lastUsedTime": None,
        }
        self.loaded[identifier] = Instance(full, fields)
        return full

    # WebSockets

    def calls(self, endpoint: str) -> list[Any]:
        """Parameters of the calls and channels of this endpoint."""
        frames = (frame for _, frame in self.seen if frame.get("endpoint") == endpoint)
        return [frame.get("parameter", frame.get("creationParameter")) for frame in frames]

    async def called(self, endpoint: str, times: int) -> None:
        """Wait until so many calls of this endpoint have come."""
        while len(self.calls(endpoint)) < times:
            self._pulse.clear()
            await self._pulse.wait()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refuses is not None:
            return web.Response(status=self.refuses)
        namespace = request.match_info["namespace"]
        self.opened[namespace] += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        first = json.loads(await socket.receive_str())
        self.seen.append((namespace, first))
        assert first["authVersion"] == 1
        if self.token is not None and (first["clientIdentifier"], first["clientPasskey"]) != self.token:
            text = f'Failed to validate client: Invalid client passkey for client "{first["clientIdentifier"]}"'
            await socket.send_json({"success": False, "error": text})
            await socket.close()
            return socket
        if self.greeting is None:
            return socket
        await _say(socket, self.greeting)
        with suppress(ConnectionError):
            await self._talk(namespace, socket)
        return socket

    async def _talk(self, namespace: str, socket: web.WebSocketResponse) -> None:
        channels: dict[int, asyncio.Event] = {}
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            frame = json.loads(message.data)
            self.seen.append((namespace, frame))
            self._pulse.set()
            endpoint = frame.get("endpoint", "")
            if endpoint in self.drops:
                self.drops.discard(endpoint)
                return
            if endpoint in self.stalls:
                self.stalls.discard(endpoint)
                await asyncio.Event().wait()
            if endpoint in self.garbage:
                await _say(socket, self.garbage.pop(endpoint))
                continue
            for each in self.before_answer:
                await socket.send_str(each)
            if frame["type"] == "rpcCall" and endpoint not in self.mute:
                await socket.send_json(self._answer(namespace, frame))
            elif frame["type"] == "channelCreate":
                channels[frame["channelId"]] = cancelled = asyncio.Event()
                task = asyncio.create_task(self._load(socket, namespace, frame, cancelled))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif frame["type"] == "channelSend" and frame["message"]["type"] == "cancel" and not self.deaf:
                channels[frame["channelId"]].set()

    def _answer(self, namespace: str, frame: Mapping[str, Any]) -> dict[str, Any]:
        said, number = frame.get("parameter") or {}, frame["callId"]
        match frame["endpoint"]:
            case "listDownloadedModels":
                result: Any = self.models
            case "listLoaded":
                result = [each.info for each in self.loaded.values() if each.namespace == namespace]
            case "version":
                result = {"version": "0.4.7", "build": 1}
            case "getLoadConfig":
                identifier = said["specifier"]["query"]["identifier"]
                result = {"fields": self._config(self.loaded[identifier])}
            case "unloadModel":
                known = self.loaded.get(said["identifier"])
                if known is None or known.namespace != namespace:
                    return {"type": "rpcError", "callId": number, "error": not_loaded(said["identifier"])}
                del self.loaded[said["identifier"]]
                return {"type": "rpcResult", "callId": number}
            case endpoint:
                return {"type": "communicationWarning", "warning": f"no endpoint {endpoint}"}
        return {"type": "rpcResult", "callId": number, "result": result}

    def _config(self, instance: Instance) -> list[dict[str, Any]]:
        known = {each["key"]: each["value"] for each in instance.fields}
        usual = {f"{instance.namespace}.load.contextLength": instance.info["contextLength"]}
        return [{"key": key, "value": value} for key, value in (usual | known).items()]

    async def _load(
        self, socket: web.WebSocketResponse, namespace: str, frame: Mapping[str, Any], cancelled: asyncio.Event
    ) -> None:
        number, said = frame["channelId"], frame["creationParameter"]

        async def tell(message: dict[str, Any]) -> None:
            await socket.send_json({"type": "channelSend", "channelId": number, "message": message})

        async def fail(error: dict[str, Any]) -> None:
            await socket.send_json({"type": "channelError", "channelId": number, "error": error})

        info = next((each for each in self.models if each["modelKey"] == said["modelKey"]), None)
        if info is None:
            await fail(no_model(said["modelKey"]))
            return
        if said["identifier"] in self.loaded:
            await fail({"title": f"Model with identifier {said['identifier']} already exists"})
            return
        await tell({"type": "resolved", "info": info})
        if self.ends_early:
            await socket.send_json({"type": "channelClose", "channelId": number})
            return
        for step in self.numbers:
            await tell({"type": "progress", "progress": step})
            self.loading.set()
            if self.gate is not None and not cancelled.is_set():
                waits = [asyncio.ensure_future(each.wait()) for each in (self.gate, cancelled)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for each in waits:
                    each.cancel()
            if cancelled.is_set():
                await fail({"title": "Operation canceled"})
                return
        if self.load_error is not None:
            await fail(self.load_error)
            return
        full = self._put(said["modelKey"], said["identifier"], said["loadConfigStack"]["layers"][0]["config"]["fields"])
        await tell({"type": "success", "info": full})
        await socket.send_json({"type": "channelClose", "channelId": number})

    # HTTP

    def _let_in(self, request: web.Request) -> bool:
        wanted = None if self.token is None else f"Bearer sk-lm-{self.token[0]}:{self.token[1]}"
        return wanted is None or request.headers.get("Authorization") == wanted

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response({"package": "lmstudio", "version": "0.4.7"})

    async def _rest_models(self, request: web.Request) -> web.Response:
        self.rest.append(("GET", request.path, None))
        if self.rest_reply is not None:
            return web.Response(text=self.rest_reply)
        if not self.has_rest:
            return web.json_response({"error": "Unexpected endpoint or method. (GET /api/v1/models)"})
        if not self._let_in(request):
            return web.json_response({"error": {"type": "invalid_request", "message": "no such token"}}, status=401)
        return web.json_response({"models": [self._rest_model(each) for each in self.models]})

    def _rest_model(self, info: Mapping[str, Any]) -> dict[str, Any]:
        there = [(name, each) for name, each in self.loaded.items() if each.info["modelKey"] == info["modelKey"]]
        return {
            "type": info["type"],
            "publisher": info["publisher"],
            "key": info["modelKey"],
            "display_name": info["displayName"],
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": info["sizeBytes"],
            "params_string": None,
            "loaded_instances": [
                {"id": name, "config": {"context_length": each.info["contextLength"], "parallel": 4}}
                for name, each in there
            ],
            "max_context_length": info["maxContextLength"],
            "format": "gguf",
            "capabilities": {"vision": info.get("vision", False), "trained_for_tool_use": True},
            "description": None,
        }

    async def _rest_load(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.rest.append(("POST", request.path, body))
        if all(each["modelKey"] != body["model"] for each in self.models):
            error = {"type": "model_not_found", "message": f"Model {body['model']} not found"}
            return web.json_response({"error": error}, status=404)
        self.loading.set()
        if self.gate is not None:
            await asyncio.shield(self.gate.wait())
        if self.load_error is not None:
            error = {"type": "internal_error", "message": self.load_error["title"]}
            return web.json_response({"error": error}, status=500)
        context = body.get("context_length", 4096)
        name = body["model"] if body["model"] not in self.loaded else f"{body['model']}:2"
        self._put(body["model"], name, [{"key": "llm.load.contextLength", "value": context}])
        config = {"context_length": context, "flash_attention": body.get("flash_attention", False), "parallel": 4}
        return web.json_response(
            {"type": "llm", "instance_id": name, "load_time_seconds": 0.1, "status": "loaded", "load_config": config}
        )

    async def _rest_unload(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.rest.append(("POST", request.path, body))
        if self.loaded.pop(body["instance_id"], None) is None:
            error = {"type": "model_not_found", "message": "no such instance"}
            return web.json_response({"error": error}, status=404)
        return web.json_response(body)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.chats.append((body, request.headers.get("Authorization")))
        if body["model"] not in self.loaded:
            error = {"message": f'Model "{body["model"]}" is not loaded.', "type": "invalid_request_error"}
            return web.json_response({"error": error | {"code": "model_not_found", "param": "model"}}, status=404)
        if body.get("stream"):
            return await self._stream(request, body["model"])
        message = {"role": "assistant", "content": f"hello from {body['model']}"}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
            }
        )

    async def _stream(self, request: web.Request, name: str) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        for text, finish in (("hello ", None), (f"from {name}", None), ("", "stop")):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
            chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": name}
            await reply.write(b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n")
            self.streaming.set()
            if self.stream_gate is not None:
                await self.stream_gate.wait()
        await reply.write(b"data: [DONE]\n\n")
        return reply

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})


async def _say(socket: web.WebSocketResponse, said: str | bytes) -> None:
    await (socket.send_bytes(said) if isinstance(said, bytes) else socket.send_str(said))
