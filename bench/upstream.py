"""A fast scripted OpenAI upstream: raw asyncio, answers from pre-built bytes, so that it is never the bottleneck.

    python -m bench.upstream PORT [--tokens 64] [--interval-ms 0] [--slots N --service-ms 50]

POST with "stream":true gets TOKENS chunks, a final one and [DONE]; else one JSON body; GET a model list. With an
interval
each chunk carries its number, the request's `user` field and the monotonic time it was sent, so that a client can tell
lost, mixed and delayed tokens. With --slots at most N requests are worked on at once (SERVICE-MS each), the rest wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from typing import cast

import uvloop

USER = re.compile(rb'"user":\s*"([^"]*)"')


def as_chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(delta: dict[str, str], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    """One chunk of a streamed chat completion."""
    body: dict[str, object] = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "bench",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    if usage is not None:
        body["usage"] = usage
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


class Script:
    """The answers, built once."""

    def __init__(self, tokens: int, interval: float, slots: int | None, service: float) -> None:
        usage = {"prompt_tokens": 16, "completion_tokens": tokens, "total_tokens": 16 + tokens}
        self.tokens, self.interval, self.service = tokens, interval, service
        self.slots = asyncio.Semaphore(slots) if slots else None
        head = sse({"role": "assistant", "content": ""})
        tail = sse({}, "stop", usage) + b"data: [DONE]\n\n"
        self.template = sse({"content": "%s"}).split(b"%s")
        self.head, self.tail = as_chunk(head), as_chunk(tail) + b"0\r\n\r\n"
        body = b"".join(as_chunk(sse({"content": f" tok{i}"})) for i in range(tokens))
        self.stream_head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.burst = self.stream_head + self.head + body + self.tail
        message = {"role": "assistant", "content": " tok" * tokens}
        answer = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1700000000, "model": "bench",
                  "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}  # fmt: skip
        self.json = self._whole(answer)
        model = {"id": "bench", "object": "model", "created": 1700000000, "owned_by": "bench"}
        self.models = self._whole({"object": "list", "data": [model]})

    @staticmethod
    def _whole(body: dict[str, object]) -> bytes:
        data = json.dumps(body).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        return head % len(data) + data

    def token(self, number: int, user: bytes) -> bytes:
        """One numbered, owned, timed token."""
        text = b"%d|%b|%d " % (number, user, time.monotonic_ns())
        return as_chunk(self.template[0] + text + self.template[1])


class Connection(asyncio.Protocol):
    """One client connection; keep-alive, no pipelining."""

    def __init__(self, script: Script) -> None:
        self.script, self.buffer = script, b""
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def connection_lost(self, error: Exception | None) -> None:
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (request := self._take()) is not None:
            self._answer(*request)

    def _take(self) -> tuple[bytes, bytes] | None:
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        length = re.search(rb"(?i)content-length:\s*(\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return None
        self.buffer = rest[size:]
        return head, rest[:size]

    def _answer(self, head: bytes, body: bytes) -> None:
        script = self.script
        if head[:3] == b"GET":
            self.transport.write(script.models)
            return
        streamed = b'"stream":true' in body.replace(b" ", b"")
        if script.slots is None and not (streamed and script.interval):
            self.transport.write(script.burst if streamed else script.json)
            return
        task = asyncio.get_running_loop().create_task(self._paced(streamed, body))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _paced(self, streamed: bool, body: bytes) -> None:
        script = self.script
        if script.slots is not None:
            async with script.slots:
                await asyncio.sleep(script.service)
            self.transport.write(script.burst if streamed else script.json)
            return
        owner = USER.search(body)
        user = owner[1] if owner else b"-"
        self.transport.write(script.stream_head + script.head)
        due = time.monotonic()
        for number in range(script.tokens):
            due += script.interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.transport.write(script.token(number, user))
        self.transport.write(script.tail)


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--interval-ms", type=float, default=0)
    parser.add_argument("--slots", type=int, default=None)
    parser.add_argument("--service-ms", type=float, default=50)
    options = parser.parse_args()
    script = Script(options.tokens, options.interval_ms / 1000, options.slots, options.service_ms / 1000)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(script), "127.0.0.1", options.port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
