"""One question to another machine's API: JSON over HTTP, bounded in size and time; redirects are not followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from lanhaven.wire import encode

MOST_BYTES = 16 << 20  # of an answer: a list of all models, or all that is known of one

_decode = msgspec.json.Decoder().decode


class Unanswered(Exception):
    """No answer. The text says how: "does not answer", "cannot be reached"."""


@dataclass(frozen=True, slots=True)
class Answer:
    """value: None where it is no JSON."""

    status: int
    value: Any = None

    @property
    def result(self) -> dict[str, Any] | None:
        """What was asked for; None where the answer is an error. LM Studio says some with status 200."""
        value = self.value
        return value if self.status == 200 and isinstance(value, dict) and "error" not in value else None

    @property
    def error(self) -> Any:
        """Its `error`, of whatever kind."""
        return self.value.get("error") if isinstance(self.value, dict) else None


async def ask(
    http: aiohttp.ClientSession,
    method: str,
    url: str,
    body: Mapping[str, Any] | None = None,
    *,
    headers: Iterable[tuple[str, str]] = (),
    seconds: float,
    connect: float,
) -> Answer:
    """The answer, whatever its status. seconds: for all of it; connect: of these, for the connection. Unanswered."""
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(connect, seconds))
    sent = {**dict(headers), "content-type": "application/json", "accept-encoding": "identity"}
    data = None if body is None else encode(body)
    try:
        async with http.request(method, url, data=data, headers=sent, timeout=timeout, allow_redirects=False) as reply:
            return Answer(reply.status, _read(await _bounded(reply)))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unanswered("does not answer" if isinstance(error, TimeoutError) else "cannot be reached") from None


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    """The body, or ValueError for one that is too large."""
    body = b""
    async for piece in reply.content.iter_chunked(1 << 16):
        body += piece
        if len(body) > MOST_BYTES:
            raise ValueError("too large")
    return body


def _read(raw: bytes) -> Any:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
