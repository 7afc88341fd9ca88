"""What a client reads piece by piece: a streamed chat, and the debug stream."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2

PATIENCE = 60.0  # seconds that nothing here comes near


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


class Stream:
    """The frames of a streamed reply, as they come."""

    def __init__(self, reply: httpx2.Response) -> None:
        self.reply = reply
        self.frames: list[str] = []
        self._lines = reply.iter_lines()

    def __iter__(self) -> Iterator[str]:
        """`data:` of each frame."""
        for line in self._lines:
            if line.startswith("data: "):
                self.frames.append(line.removeprefix("data: "))
                yield self.frames[-1]

    def read(self, frames: int) -> None:
        """So many more frames."""
        for _, _ in zip(range(frames), self, strict=False):
            pass

    def rest(self) -> list[str]:
        """All frames, once the reply has ended."""
        for _ in self:
            pass
        return self.frames

    @property
    def text(self) -> str:
        """The content so far."""
        chunks = [json.loads(frame) for frame in self.frames if frame != "[DONE]"]
        return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))

    @property
    def error(self) -> dict[str, Any]:
        """The error that ended it; there must be exactly one, and no [DONE]."""
        assert "[DONE]" not in self.frames
        errors = [body["error"] for frame in self.frames if "error" in (body := json.loads(frame))]
        assert len(errors) == 1
        last: dict[str, Any] = json.loads(self.frames[-1])["error"]
        return last


class Events:
    """The debug stream, read by a thread of its own until `close`."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        connection.connect()
        self._socket = connection.sock
        connection.request("GET", "/debug/stream", headers={"Accept": "text/event-stream"})
        self.reply = connection.getresponse()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the server may have ended it
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(PATIENCE)
        self.reply.close()
        self._socket.close()

    def _read(self) -> None:
        name = ""
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := self.reply.readline().decode():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ").strip()
                elif line.startswith("data: "):
                    with self._news:
                        self.seen.append((name, json.loads(line.removeprefix("data: "))))
                        self._news.notify_all()

    def until(self, name: str, seconds: float = PATIENCE, nth: int = 1, **fields: Any) -> dict[str, Any]:
        """The first event of that name with these fields, or the `nth`."""
        with self._news:
            found = self._news.wait_for(lambda: self.find(name, **fields)[nth - 1 :], seconds)
            assert found, f"no {name} with {fields}, {nth} times, among {self.seen}"
            return found[0]

    def find(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """All events of that name with these fields, so far."""
        return [body for kind, body in self.seen if kind == name and fields.items() <= body.items()]

    def names(self) -> list[str]:
        return [name for name, _ in self.seen]
