"""Writes the scripted server's replies, with everything a fault script does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lanhaven.engines import scripted_answers as answers
from lanhaven.engines.connection import Connection
from lanhaven.engines.scripted_answers import Answer, ScriptedModel
from lanhaven.engines.scripted_faults import Act, Fault, octets

_DONE = b"data: [DONE]\n\n"


class Reply:
    """One reply on one connection. `crash` ends the whole server."""

    def __init__(
        self, connection: Connection, fault: Fault, crash: Callable[[], None], *, interval: float = 0.0
    ) -> None:
        self._connection = connection
        self._fault = fault
        self._crash = crash
        self._interval = interval if fault.interval is None else fault.interval

    async def before(self) -> bool:
        """What comes before the head. False if that was all."""
        fault = self._fault
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.raw is not None:
            await self._connection.write(octets(fault.raw), fault.split)
            await self._misbehave(fault.do or Act.FIN)
            return False
        if fault.do is not None and fault.at < 0:
            await self._misbehave(fault.do)
            return False
        await self._connection.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * fault.informational)
        return True

    # Whole replies

    async def whole(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        """JSON with this status."""
        await self.send(status, msgspec.json.encode(value), "application/json", headers)

    async def send(self, status: int, data: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        fault = self._fault
        head = [f"content-length: {len(data) + fault.length}"]
        match fault.framing:
            case "close":
                head = ["connection: close"]
            case "double":
                head.append(f"content-length: {len(data) + fault.length + 1}")
            case "chunked":
                head = ["transfer-encoding: chunked"]
        await self._head(status, kind, [*head, *(f"{name}: {value}" for name, value in (headers or {}).items())])
        chunked = fault.framing == "chunked"
        frame = _chunk if chunked else bytes
        if fault.do is None:
            await self._connection.write(frame(data), fault.split)
        else:
            await self._connection.write(frame(data[: fault.at]), fault.split)
            if not await self._misbehave(fault.do, data[fault.at :], chunked=chunked):
                return
            await self._connection.write(frame(data[fault.at :]), fault.split)
        await self._finish(chunked=chunked)

    async def _head(self, status: int, kind: str, lines: list[str]) -> None:
        fault = self._fault
        kind = kind if fault.content_type is None else fault.content_type
        if kind:
            lines.append(f"content-type: {kind}")
        lines += [f"{name}: {value}" for name, value in fault.headers.items()]
        lines += [f"x-flood-{number}: x" for number in range(fault.flood)]
        if fault.header_bytes:
            lines.append("x-large: " + "x" * fault.header_bytes)
        await self._connection.write("\r\n".join([f"HTTP/1.1 {status} Scripted", *lines, "", ""]).encode())
        if fault.delay_body:
            await asyncio.sleep(fault.delay_body)

    async def _finish(self, *, chunked: bool) -> None:
        fault = self._fault
        if chunked:
            await self._connection.write(b"0\r\n\r\n")
        if fault.close or fault.framing == "close" or fault.length > 0:
            self._connection.fin()

    # Streams

    async def stream(self, body: Mapping[str, Any], made: list[Answer], usage: Mapping[str, Any]) -> None:
        """Server-Sent Events, chunked; the choices of several answers take turns."""
        fault = self._fault
        chat = "messages" in body
        await self._head(200, "text/event-stream", ["transfer-encoding: chunked"])
        if fault.line_bytes:
            await self._giant()
        if body.get("return_progress") is True:
            await self._progress(body, usage, chat=chat)
        if chat:
            for index in range(len(made)):
                await self._event(body, [answers.first_delta(index)], chat=chat)
        due = fault.do  # until it has been done
        frames = (self._frame(body, [choice], chat=chat) for choice in answers.turns(made, chat=chat))
        for sent, frame in enumerate(frames):
            if due is not None and sent == fault.at:
                if not await self._misbehave(due, frame, chunked=True):
                    return
                due = None
            await self._connection.write(_chunk(frame), fault.split)
            if self._interval:
                await asyncio.sleep(self._interval)
        if due is None or await self._misbehave(due, _DONE, chunked=True):
            await self._ending(body, made, usage, chat=chat)

    async def _progress(self, body: Mapping[str, Any], usage: Mapping[str, Any], *, chat: bool) -> None:
        for step in answers.progress(int(usage.get("prompt_tokens", 0))):
            choice = answers.first_delta(0) if chat else {"index": 0, "text": "", "finish_reason": None}
            chunk = {**answers.envelope(body, chat=chat, chunk=True), "choices": [choice], "prompt_progress": step}
            await self._connection.write(_chunk(self._ends(b"data: " + msgspec.json.encode(chunk) + b"\n\n")))

    async def _ending(
        self, body: Mapping[str, Any], made: list[Answer], usage: Mapping[str, Any], *, chat: bool
    ) -> None:
        fault = self._fault
        if fault.finish:
            for index, answer in enumerate(made):
                await self._event(body, [answers.last_delta(answer, index, chat=chat)], chat=chat)
        if (body.get("stream_options") or {}).get("include_usage"):
            await self._event(body, [], chat=chat, usage=usage)
        if fault.done:
            await self._connection.write(_chunk(self._ends(_DONE)), fault.split)
        if fault.trail:
            await self._connection.write(_chunk(octets(fault.trail)), fault.split)
        await self._finish(chunked=True)

    async def _event(
        self, body: Mapping[str, Any], choices: list[Any], *, chat: bool, usage: Mapping[str, Any] | None = None
    ) -> None:
        frame = self._frame(body, choices, chat=chat, usage=usage)
        await self._connection.write(_chunk(frame), self._fault.split)

    def _frame(
        self, body: Mapping[str, Any], choices: list[Any], *, chat: bool, usage: Mapping[str, Any] | None = None
    ) -> bytes:
        chunk = {**answers.envelope(body, chat=chat, chunk=True), "choices": choices}
        if usage is not None:
            chunk["usage"] = usage
        return self._ends(b"data: " + msgspec.json.encode(chunk) + b"\n\n")

    def _ends(self, frame: bytes) -> bytes:
        return frame if self._fault.line_end == "\n" else frame.replace(b"\n", octets(self._fault.line_end))

    async def _giant(self) -> None:
        """One line of body that does not end for a long time."""
        await self._connection.write(_chunk(b"data: "))
        left = self._fault.line_bytes
        while left > 0:
            size = min(left, 1 << 18)
            await self._connection.write(_chunk(b"x" * size))
            left -= size

    # Misbehaviour

    async def _misbehave(self, act: Act, rest: bytes = b"", *, chunked: bool = False) -> bool:
        """Do it. True if the reply goes on afterwards."""
        connection, fault = self._connection, self._fault
        match act:
            case Act.STALL:
                await connection.stall()
            case Act.FIN:
                connection.fin()
            case Act.RST:
                connection.rst()
            case Act.CRASH:
                self._crash()
            case Act.FRAME:
                await connection.write(_chunk(octets(fault.frame)) if chunked else octets(fault.frame), fault.split)
                return True
            case Act.HALF | Act.ERROR | Act.END:
                data = {Act.HALF: rest[: len(rest) // 2], Act.ERROR: fault.error_frame(), Act.END: b""}[act]
                await connection.write((_chunk(data) if chunked else data) if data else b"", fault.split)
                if chunked:
                    await connection.write(b"0\r\n\r\n")
                else:
                    connection.fin()
        return False


def refusal(fault: Fault) -> tuple[bytes, str]:
    """Body and content type of a reply that a fault script gives a status or a body of its own."""
    if fault.body is not None:
        return octets(fault.body), "application/json"
    error = fault.error if fault.error is not None else {"code": fault.status, "message": "scripted failure"}
    return msgspec.json.encode({"error": error}), "application/json"


def overflow(count: int, model: ScriptedModel) -> dict[str, Any]:
    """What llama.cpp says when a prompt does not fit."""
    message = f"request ({count} tokens) exceeds the available context size ({model.context} tokens), try increasing it"
    return {
        "error": {
            "code": 400,
            "message": message,
            "type": "exceed_context_size_error",
            "n_prompt_tokens": count,
            "n_ctx": model.context,
        }
    }


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
