"""Load on raw sockets: what a client sees, and what the server's processes cost. Loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

PROMPT = "Say something nice about the sea."
TOKEN = re.compile(rb"(\d+)\|([^|]*)\|(\d+) ")


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """User and system time of these processes and their living descendants."""
    seen: dict[int, psutil.Process] = {}
    for pid in pids:
        process = psutil.Process(pid)
        seen |= {each.pid: each for each in (process, *process.children(recursive=True))}
    return float(sum(times.user + times.system for times in (each.cpu_times() for each in seen.values())))


@dataclass(slots=True)
class Result:
    """What one load measured. Latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)
    chunks: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    failures: int = 0

    def quantile(self, share: float) -> float:
        """Latency at that share, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.wall

    @property
    def cpu_per_request(self) -> float:
        """Microseconds."""
        return 1e6 * self.cpu / max(1, len(self.latencies))

    @property
    def cpu_per_chunk(self) -> float:
        """Microseconds."""
        return 1e6 * self.cpu / max(1, self.chunks)


def request_bytes(
    url: str, *, key: str, model: str, stream: bool, user: str | None = None, max_tokens: int = 64
) -> bytes:
    """A whole chat request."""
    parts = urlsplit(url)
    payload: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "temperature": 0}
    payload |= {"max_tokens": max_tokens} | ({"stream": True} if stream else {}) | ({"user": user} if user else {})
    body = json.dumps(payload).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """One keep-alive connection, to the host of `url` or to a unix socket."""

    def __init__(self, url: str, socket: str | None = None) -> None:
        parts = urlsplit(url)
        self.socket = socket
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes, on_data: Callable[[bytes], None] | None = None) -> int:
        """Send one request, read its whole reply; the status."""
        if self.reader is None or self.writer is None:
            opened = (
                asyncio.open_connection(self.host, self.port)
                if self.socket is None
                else asyncio.open_unix_connection(self.socket)
            )
            self.reader, self.writer = await opened
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        if length:
            await self.reader.readexactly(int(length[1]))
        elif b"chunked" in head:
            await self._chunks(self.reader, on_data)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12])

    async def _chunks(self, reader: asyncio.StreamReader, on_data: Callable[[bytes], None] | None) -> None:
        while True:
            size = int(await reader.readline(), 16)
            data = await reader.readexactly(size + 2)
            if size == 0:
                return
            if on_data is not None:
                on_data(data)

    def close(self) -> None:
        """Drop the connection."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def closed_loop(url: str, request: bytes, *, count: int, clients: int, pids: tuple[int, ...]) -> Result:
    """`clients` connections, each sending its next request when the last is answered."""
    result, left = Result(), iter(range(count))

    def data(block: bytes) -> None:
        result.chunks += block.count(b"data: ")

    async def work() -> None:
        client = Client(url)
        for _ in left:
            start = time.perf_counter()
            code = await client.send(request, data)
            result.latencies.append(time.perf_counter() - start)
            result.codes[code] = result.codes.get(code, 0) + 1
        client.close()

    await _measured(result, pids, [work() for _ in range(clients)])
    return result


async def open_loop(
    url: str, request: bytes, *, rate: float, seconds: float, pids: tuple[int, ...]
) -> dict[int, Result]:
    """Requests at a fixed rate, whatever the answers do: a Result per status. A lost connection counts as status 0."""
    results: dict[int, Result] = {}

    async def one(start: float) -> None:
        client, code = Client(url), 0
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            code = await client.send(request)
        client.close()
        results.setdefault(code, Result()).latencies.append(time.perf_counter() - start)

    began, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(time.perf_counter())))
    await asyncio.gather(*tasks)
    for result in results.values():
        result.wall = time.perf_counter() - began
    return results


@dataclass(slots=True)
class Streams:
    """What many paced streams saw. Gaps in milliseconds."""

    result: Result = field(default_factory=Result)
    added: list[float] = field(default_factory=list)
    lost: int = 0
    mixed: int = 0

    def gap(self, share: float) -> float:
        """The time a token came later, relative to the one before it, than it was sent."""
        ordered = sorted(self.added)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def streams(url: str, *, key: str, count: int, tokens: int, pids: tuple[int, ...]) -> Streams:
    """`count` streams at once from a paced upstream: every token numbered, owned and timed."""
    seen = Streams()

    async def one(name: str) -> None:
        expected, last = 0, (0, 0)

        def data(block: bytes) -> None:
            nonlocal expected, last
            now = time.monotonic_ns()
            for number, owner, sent in TOKEN.findall(block):
                seen.result.chunks += 1
                seen.mixed += owner != name.encode()
                seen.lost += int(number) != expected
                expected = int(number) + 1
                if last[0]:
                    seen.added.append(((now - last[0]) - (int(sent) - last[1])) / 1e6)
                last = (now, int(sent))

        client = Client(url)
        start = time.perf_counter()
        request = request_bytes(url, key=key, model="bench", stream=True, user=name)
        code = await client.send(request, data)
        client.close()
        seen.result.codes[code] = seen.result.codes.get(code, 0) + 1
        seen.result.latencies.append(time.perf_counter() - start)
        seen.lost += tokens - expected

    async def spread(index: int) -> None:
        await asyncio.sleep(index * 0.002)
        await one(f"s{index}")

    await _measured(seen.result, pids, [spread(index) for index in range(count)])
    return seen


async def many(url: str, request: bytes, *, count: int, pids: tuple[int, ...]) -> Result:
    """`count` of the same streams at once, read to their ends."""
    result = Result()

    async def one(index: int) -> None:
        await asyncio.sleep(index * 0.002)
        client, start = Client(url), time.perf_counter()
        code = await client.send(request)
        client.close()
        result.codes[code] = result.codes.get(code, 0) + 1
        result.latencies.append(time.perf_counter() - start)

    await _measured(result, pids, [one(index) for index in range(count)])
    return result


async def _measured(result: Result, pids: tuple[int, ...], work: list[Awaitable[None]]) -> None:
    before, start = cpu_seconds(pids), time.perf_counter()
    await asyncio.gather(*work)
    result.wall = time.perf_counter() - start
    result.cpu = cpu_seconds(pids) - before


def load_average() -> float:
    """Of the last minute: a figure taken on a busy machine is worth less, so it stands beside every table."""
    return os.getloadavg()[0]
