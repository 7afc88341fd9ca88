"""A server of a few lines: it answers each path with what the test gave it, in order, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """`body`: bytes as they are, or JSON. hold: stay silent behind `body`. cut: close without the promised rest."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: bool = False
    cut: bool = False

    def octets(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        kind = "application/json" if not isinstance(self.body, bytes) else "text/event-stream"
        length = len(body) + (1 if self.cut or self.hold else 0)
        headers = {"content-type": kind, "content-length": str(length), **self.headers}
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + body


HANG_UP = Answer(status=0)  # the connection is closed without a byte
SILENT = Answer(status=1)  # nothing is answered


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class PlainServer:
    """`answers`: path -> what it gives, the last one again and again; other paths are 404."""

    def __init__(self, answers: Mapping[str, list[Answer]]) -> None:
        self.answers = {path: list(each) for path, each in answers.items()}
        self.asked: list[Asked] = []
        self.left = asyncio.Event()  # a client closed while its answer was held
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        path, _, query = target.partition("?")
        self.asked.append(Asked(method, path, query, headers, raw))
        answers = self.answers.get(path, [Answer({"error": "Not found", "code": "not_found"}, 404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is HANG_UP:
            return False
        if answer is not SILENT:
            writer.write(answer.octets())
            await writer.drain()
        if answer.hold or answer is SILENT:
            await reader.read(1)
            self.left.set()
            return False
        return not answer.cut


@asynccontextmanager
async def plain_server(
    answers: Mapping[str, list[Answer]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[PlainServer]:
    """Serve until the block ends."""
    plain = PlainServer(answers)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(plain.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    plain.port = server.sockets[0].getsockname()[1]
    try:
        yield plain
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def sse(*data: Any, done: bool = True) -> bytes:
    """A stream of these."""
    frames = [each if isinstance(each, str) else json.dumps(each) for each in (*data, *(["[DONE]"] if done else []))]
    return "".join(f"data: {frame}\n\n" for frame in frames).encode()


def chunk(content: str | None = None, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a chat."""
    delta = {} if content is None else {"content": content}
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **fields}


def whole(content: str) -> dict[str, Any]:
    """A whole chat answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip
