"""The requests of a batch: a file with a JSON object on each line, checked before anything is asked.

{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {...}}
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanhaven.dialects.batch.records import LineError
from lanhaven.dialects.batch.shelf import disk
from lanhaven.errors import InvalidRequest
from lanhaven.wire import encode, read_object

MAX_LINES = 50_000
MAX_LINE = 16 << 20  # bytes
MAX_ID = 512
MAX_ERRORS = 100  # told; one more is enough to know that there are others


@dataclass(frozen=True, slots=True)
class Line:
    """One request; `number` counts from 1, blank lines too."""

    number: int
    custom_id: str
    body: dict[str, Any]


@dataclass(slots=True)
class Checked:
    """What a file holds. model: of its first request."""

    total: int = 0
    model: str | None = None
    errors: list[LineError] = field(default_factory=list)


class _Bad(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def check(path: Path, endpoint: str) -> Checked:
    """Look at every line. Blocks; InternalError if the file cannot be read."""
    found, seen = Checked(), dict[str, int]()
    for number, text in _texts(path):
        try:
            line = _read(number, text, endpoint)
            if line.custom_id in seen:
                raise _Bad("duplicate_custom_id", f"The custom_id is that of line {seen[line.custom_id]}.", "custom_id")
        except _Bad as error:
            found.errors.append(LineError(error.code, error.message, number, error.param))
            if len(found.errors) >= MAX_ERRORS:
                break
            continue
        seen[line.custom_id] = number
        found.total += 1
        model = line.body.get("model")
        found.model = found.model or (model if isinstance(model, str) else None)
        if found.total > MAX_LINES:
            found.errors.append(LineError("too_many_requests", f"A file may hold {MAX_LINES} requests.", number))
            break
    if not found.total and not found.errors:
        found.errors.append(LineError("empty_file", "The file has no requests."))
    return found


def requests(path: Path, endpoint: str, done: Collection[int]) -> Iterator[Line]:
    """The lines that are not done, of a file that was checked. Blocks."""
    for number, text in _texts(path):
        if number not in done:
            try:
                yield _read(number, text, endpoint)
            except _Bad as error:
                raise InvalidRequest(f"Line {number} of the file has changed: {error.message}") from None


class Lines:
    """The same for many takers in an event loop: each line goes to one of them."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._turn = asyncio.Lock()

    async def next(self) -> Line | None:
        """None: there are no more."""
        async with self._turn:
            return await asyncio.to_thread(next, self._lines, None)


def write_undone(part: Path, path: Path, endpoint: str, done: Collection[int], code: str, message: str) -> None:
    """An error for each line that was not asked. Blocks."""
    with disk("The results"), part.open("ab") as file:
        for line in requests(path, endpoint, done):
            told = {"id": f"batch_req_{line.number}", "custom_id": line.custom_id, "response": None}
            file.write(encode({**told, "error": {"code": code, "message": message}}) + b"\n")


def _texts(path: Path) -> Iterator[tuple[int, bytes]]:
    with disk("The file of the batch"), path.open("rb") as file:
        number = 0
        while text := file.readline(MAX_LINE + 1):
            number += 1
            if text.strip():
                yield number, text
            if len(text) > MAX_LINE:
                return  # what follows is the rest of a line that is too long


def _read(number: int, text: bytes, endpoint: str) -> Line:
    if len(text) > MAX_LINE:
        raise _Bad("line_too_long", f"A line may have {MAX_LINE} bytes.")
    try:
        value = read_object(text)
    except InvalidRequest as error:
        raise _Bad("invalid_json_line", error.message.replace("The body", "The line")) from None
    custom_id, body = value.get("custom_id"), value.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_ID:
        raise _Bad("invalid_custom_id", f"custom_id must be a string of 1 to {MAX_ID} characters.", "custom_id")
    if value.get("method") != "POST":
        raise _Bad("invalid_method", "method must be POST.", "method")
    if value.get("url") != endpoint:
        raise _Bad("mismatched_endpoint", f"url must be that of the batch, {endpoint}.", "url")
    if not isinstance(body, dict):
        raise _Bad("invalid_body", "body must be an object.", "body")
    if body.get("stream") is True:
        raise _Bad("invalid_body", "stream is not possible in a batch.", "body.stream")
    return Line(number, custom_id, body)
