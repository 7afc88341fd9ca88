"""A scripted OpenAI server on a real socket: deterministic answers, and any fault on request.

It serves `/health`, `/v1/models`, chat and text completions, embeddings, rerank, `/tokenize` and llama.cpp's token
counts. It is what the mock provider runs, and the test double for everything that talks to an engine.

    async with ScriptedServer() as server:
        server.script(Fault(at=3, do=Act.RST))          # the next request, or by path; or "mock": {...} in its body
        ...
        assert server.generations == 1 and server.open == 0
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from lanhaven.engines import scripted_answers as answers
from lanhaven.engines.connection import Connection, Seen
from lanhaven.engines.scripted_answers import ScriptedModel
from lanhaven.engines.scripted_faults import GOOD, Act, Fault, fault_of
from lanhaven.engines.scripted_replies import Reply, overflow, refusal
from lanhaven.engines.scripted_script import Script
from lanhaven.errors import InvalidRequest
from lanhaven.types.models import Upstream

__all__ = ["Act", "Fault", "ScriptedModel", "ScriptedServer", "Seen"]

MOST_REQUESTS = 2000  # remembered; half of them are forgotten at once
GENERATES = frozenset({"/v1/chat/completions", "/v1/completions"})
COUNTS = frozenset({"/tokenize", "/apply-template", "/v1/chat/completions/input_tokens"})  # as llama.cpp has them
EXTRAS = frozenset({"return_progress"})
_COMPUTES = frozenset({*GENERATES, "/v1/embeddings", "/v1/rerank"})
_MADE_FOR = {"/v1/embeddings": "embedding", "/v1/rerank": "reranker"}
# llama.cpp's words
_NEEDS = {
    "/v1/embeddings": "embeddings. Start it with `--embeddings`",
    "/v1/rerank": "reranking. Start it with `--reranking`",
}
_NO_LOGITS = "the current context does not support logits computation. skipping"


class ScriptedServer:
    """`socket`: path of a unix socket to listen on; without one, a free port of 127.0.0.1 (or `port`).

    What it saw: `requests` in order (the last thousand at least), `generations` begun, `open` connections,
    `disconnects` (clients that left early), `running` and `most_running` requests in slots.
    """

    def __init__(
        self,
        model: ScriptedModel = ScriptedModel(),  # noqa: B008 - frozen
        *,
        socket: Path | None = None,
        port: int = 0,
        key: str | None = None,
        on_crash: Callable[[], None] | None = None,
        shared: Script | None = None,
    ) -> None:
        self.model = model
        self.requests: list[Seen] = []
        self.generations = 0
        self.connections = 0
        self.disconnects = 0
        self._forgotten_disconnects = 0
        self.running = 0
        self.most_running = 0
        self.crashed = False
        self._socket = socket
        self._port = port
        self._key = key
        self._on_crash = on_crash
        self._faults: list[Fault] = []
        self._shared = shared
        self._open: set[Connection] = set()
        self._slots = asyncio.Semaphore(model.slots)
        self._pulse = asyncio.Event()
        self._server: asyncio.Server | None = None

    # Life

    async def start(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            self._server = await loop.create_unix_server(self._connection, str(self._socket))
        else:
            self._server = await loop.create_server(self._connection, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def aclose(self) -> None:
        """Stop listening and close every connection. Idempotent."""
        self._close()
        for connection in tuple(self._open):
            await connection.ended.wait()

    def crash(self) -> None:
        """Be gone at once, as a killed process is."""
        if not self.crashed:
            self.crashed = True
            self._close()
            if self._on_crash is not None:
                self._on_crash()

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            if self._socket is not None:
                self._socket.unlink(missing_ok=True)
        for connection in tuple(self._open):
            connection.rst()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # For whoever uses it

    def upstream(self, **changes: Any) -> Upstream:
        """Where to send requests. Keywords replace fields of the Upstream."""
        routes = {
            "embedding": frozenset({"/v1/embeddings", "/tokenize"}),
            "reranker": frozenset({"/v1/rerank", "/tokenize"}),
        }.get(self.model.kind, GENERATES | COUNTS)
        base = Upstream(
            model=self.model.name,
            base_url=self.base_url,
            socket=str(self._socket) if self._socket is not None else None,
            headers=(("authorization", f"Bearer {self._key}"),) if self._key else (),
            slots=self.model.slots,
            routes=routes,
            extras=EXTRAS,
        )
        return replace(base, **changes)

    @property
    def base_url(self) -> str | None:
        return None if self._socket is not None else f"http://127.0.0.1:{self._port}"

    @property
    def blocked(self) -> int:
        """Connections whose client reads too slowly."""
        return sum(each.blocked for each in self._open)

    def script(self, *faults: Fault) -> None:
        """Faults for the next requests, in order; one with a `path` waits for a request to it."""
        self._faults += faults

    @property
    def open(self) -> int:
        return len(self._open)

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait for something to have happened here, e.g. `lambda: server.disconnects == 1`. TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._pulse.clear()
                await self._pulse.wait()

    # Serving

    def _connection(self) -> Connection:
        self.connections += 1
        return Connection(self._serve, self._changed)

    def _changed(self, connection: Connection) -> None:
        if connection.ended.is_set():
            self._open.discard(connection)
        else:
            self._open.add(connection)
        self._forget_old()
        self.disconnects = self._forgotten_disconnects + sum(each.left for each in self.requests)
        self._pulse.set()

    def _forget_old(self) -> None:
        """A server that runs for days must not keep what it was asked on its first."""
        if len(self.requests) > MOST_REQUESTS:
            old = self.requests[: MOST_REQUESTS // 2]
            self._forgotten_disconnects += sum(each.left for each in old)
            del self.requests[: len(old)]

    async def _serve(self, connection: Connection, seen: Seen) -> None:
        seen.body = _json(seen.raw)
        self.requests.append(seen)
        self._pulse.set()
        try:
            answers.check(seen.body)
            await self._admit(connection, seen, self._fault(seen))
        except InvalidRequest as error:
            await Reply(connection, GOOD, self.crash).whole(400, _error(400, error.message))

    async def _admit(self, connection: Connection, seen: Seen, fault: Fault) -> None:
        """Wait for a slot, if the request computes."""
        reply = Reply(connection, fault, self.crash, interval=self.model.interval)
        if seen.path not in _COMPUTES:
            await self._answer(reply, fault, seen)
            return
        async with self._slots:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self._pulse.set()
            try:
                await self._answer(reply, fault, seen)
            finally:
                self.running -= 1
                self._pulse.set()

    def _fault(self, seen: Seen) -> Fault:
        for place, fault in enumerate(self._faults):
            if fault.path in (None, seen.path):
                if fault.times > 1:
                    self._faults[place] = replace(fault, times=fault.times - 1)
                else:
                    del self._faults[place]
                return fault
        shared = self._shared.take(seen) if self._shared is not None and seen.path in _COMPUTES else None
        if shared is not None:
            return shared
        if isinstance(seen.body, dict) and seen.body.get("mock") is not None:
            return fault_of(seen.body["mock"])
        return GOOD

    async def _answer(self, reply: Reply, fault: Fault, seen: Seen) -> None:
        if seen.path in _COMPUTES:
            self.generations += 1
            if self.model.crash_after is not None and self.generations > self.model.crash_after:
                self.crash()
                return
        if not await reply.before():
            return
        if self._key is not None and seen.headers.get("authorization") != f"Bearer {self._key}":
            await reply.whole(401, _error(401, "Invalid API key", "authentication_error"))
        elif fault.status != 200 or fault.body is not None or (fault.error is not None and fault.do is None):
            await reply.send(fault.status, *refusal(fault))
        elif seen.method == "GET":
            await self._look(reply, seen.path)
        elif not isinstance(seen.body, dict):
            await reply.whole(400, _error(400, "The body is not a JSON object."))
        else:
            await self._compute(reply, fault, seen.path, seen.body)

    async def _look(self, reply: Reply, path: str) -> None:
        match path:
            case "/health" | "/v1/health":
                await reply.whole(200, {"status": "ok"})
            case "/v1/models" | "/models":
                entry = {"id": self.model.name, "object": "model", "created": answers.CREATED, "owned_by": "mock"}
                await reply.whole(200, {"object": "list", "data": [entry]})
            case _:
                await reply.whole(404, _error(404, "File Not Found", "not_found_error"))

    async def _compute(self, reply: Reply, fault: Fault, path: str, body: dict[str, Any]) -> None:
        kind = self.model.kind
        match path:
            case "/v1/chat/completions" | "/v1/completions" if kind in ("embedding", "reranker"):
                await reply.whole(500, _error(500, _NO_LOGITS, "server_error"))
            case "/v1/embeddings" | "/v1/rerank" if kind != _MADE_FOR[path]:
                await reply.whole(
                    501, _error(501, f"This server does not support {_NEEDS[path]}", "not_supported_error")
                )
            case "/v1/chat/completions" | "/v1/completions":
                await self._generate(reply, fault, body)
            case "/v1/embeddings":
                await reply.whole(200, answers.embeddings(body, self.model))
            case "/v1/rerank":
                await reply.whole(200, answers.rerank(body))
            case "/tokenize":
                await reply.whole(200, {"tokens": answers.token_ids(str(body.get("content", "")))})
            case "/apply-template":
                await reply.whole(200, {"prompt": answers.template(body)})
            case "/v1/chat/completions/input_tokens":
                count = len(answers.words(answers.prompt_of(body)))
                await reply.whole(200, {"input_tokens": max(1, count)})  # a template is never empty
            case _:
                await reply.whole(404, _error(404, "File Not Found", "not_found_error"))

    async def _generate(self, reply: Reply, fault: Fault, body: dict[str, Any]) -> None:
        prompt = answers.prompt_of(body)
        count = len(answers.words(prompt))
        if count > self.model.context:
            await reply.whole(400, overflow(count, self.model))
            return
        made = answers.answers(body, self.model, fault)
        usage = fault.usage if fault.usage is not None else answers.usage_of(prompt, sum(each.count for each in made))
        if body.get("stream"):
            await reply.stream(body, made, usage)
        else:
            await reply.whole(200, answers.whole(body, made, usage, chat="messages" in body))

    def __repr__(self) -> str:
        where = self._socket or self._port
        return f"ScriptedServer({where} open={self.open} running={self.running} generations={self.generations})"


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _error(code: int, message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": kind}}
