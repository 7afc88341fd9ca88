"""What was asked and answered, word for word: kept only while somebody wants to see it, and only in memory.

Off costs a request one look at `tap`, which is None then. What looks like a key is masked before anybody sees it.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TOKENS = re.compile(
    r"(?i)\bsk-[a-z0-9_:-]{8,}|\b(?:hf|gh[pousr])_[a-z0-9]{20,}"
    r'|(?:\bbearer|\bbasic)\s+(?=[^\s"\\]*\d)[\w.~+/=:-]{12,}'
)
_FIELDS = re.compile(
    r'(?i)(\\*"(?:x-)?(?:api[_-]?key|authorization|password|secret|client_secret|access_token|refresh_token)\\*"\s*:\s*'
    r'\\*")[^"\\]*'
)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """count: of requests. total: bytes of all. each: bytes of one body; what is beyond is cut off."""

    count: int = 200
    total: int = 32 << 20
    each: int = 256 << 10


@dataclass(slots=True)
class Body:
    """Of one request; `answer` in the pieces in which it was sent."""

    request: bytes
    truncated: bool
    answer: list[bytes] = field(default_factory=list)
    answer_size: int = 0

    @property
    def size(self) -> int:
        return len(self.request) + self.answer_size

    def as_json(self) -> dict[str, Any]:
        """Both as text."""
        answer = b"".join(self.answer)
        return {"request": masked(self.request), "response": masked(answer), "truncated": self.truncated}


class Bodies:
    """The last ones. `tap` follows a call: it takes its id, its body and where the answer goes, and gives where the
    answer is to go instead. None while it is off."""

    def __init__(self, limits: BodyLimits | None = None) -> None:
        self._limits = limits or BodyLimits()
        self._kept: OrderedDict[str, Body] = OrderedDict()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.tap: Callable[[str, bytes, Send], Send] | None = None

    def enable(self, seconds: float) -> None:
        """Keep what comes from now on, for so long."""
        self._cancel()
        self.tap = self._follow
        self._timer = asyncio.get_running_loop().call_later(seconds, self._cancel)

    def disable(self) -> None:
        """Keep nothing more, and forget what there is."""
        self._cancel()
        self._kept.clear()
        self._bytes = 0

    @property
    def seconds_left(self) -> float | None:
        """Until it ends by itself; None while it is off."""
        return None if self._timer is None else max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    def get(self, request_id: str) -> Body | None:
        """None: it was not followed, or had to make room."""
        return self._kept.get(request_id)

    @property
    def size(self) -> tuple[int, int]:
        """How many, and their bytes."""
        return len(self._kept), self._bytes

    def _cancel(self) -> None:
        """Follow no more calls; those that are kept stay readable."""
        self.tap = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _follow(self, request_id: str, asked: bytes, send: Send) -> Send:
        most = self._limits.each
        body = Body(asked[:most], len(asked) > most)
        earlier = self._kept.pop(request_id, None)
        self._bytes -= earlier.size if earlier is not None else 0
        self._kept[request_id] = body
        self._count(len(body.request))

        def sending(message: MutableMapping[str, Any]) -> Awaitable[None]:
            piece = message.get("body")
            if piece:
                self._add(request_id, body, piece)
            return send(message)

        return sending

    def _add(self, request_id: str, body: Body, piece: bytes) -> None:
        room = self._limits.each - body.answer_size
        body.truncated = body.truncated or len(piece) > room
        if room > 0 and self._kept.get(request_id) is body:
            body.answer.append(piece[:room])
            body.answer_size += len(body.answer[-1])
            self._count(len(body.answer[-1]))

    def _count(self, more: int) -> None:
        self._bytes += more
        while len(self._kept) > self._limits.count or self._bytes > self._limits.total:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.size

    def __repr__(self) -> str:
        return f"Bodies({'off' if self.tap is None else 'on'} {len(self._kept)} kept, {self._bytes} bytes)"


def masked(raw: bytes) -> str:
    """As text, without what looks like a key."""
    return _TOKENS.sub("[masked]", _FIELDS.sub(r"\1[masked]", raw.decode("utf-8", "replace")))
