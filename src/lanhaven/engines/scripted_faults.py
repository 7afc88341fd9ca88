"""The fault script: how the scripted server answers one request otherwise than it would."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from lanhaven.errors import InvalidRequest


class Act(StrEnum):
    """What happens at the place that `Fault.at` names."""

    STALL = "stall"  # nothing more is sent; the connection stays open
    END = "end"  # the body ends properly, with neither finish_reason nor [DONE]
    HALF = "half"  # half a frame (or half of the rest of a whole reply), then a proper end
    FIN = "fin"  # the connection is closed in the middle of the body
    RST = "rst"  # ... and reset
    CRASH = "crash"  # the whole server is gone
    ERROR = "error"  # an error frame (`error`, `error_style`), then a proper end
    FRAME = "frame"  # `frame` is sent as it is, then the reply goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One script. Everything left out stays as it is in a good reply. Times are seconds, sizes bytes.

    `frame`, `trail`, `body` and `raw` are texts; bytes that are not UTF-8 are written as lone surrogates
    (surrogateescape).
    """

    # What is answered
    answer: str | None = None  # "echo", "count" or "random"
    text: str | None = None  # exactly this
    tokens: int | None = None  # how many, for "count" and "random"
    nonce: str = ""  # precedes each counted token, to tell streams apart
    reasoning: str | None = None  # comes first, as reasoning_content
    tool: str | None = None  # call this tool
    arguments: dict[str, Any] | None = None  # with these arguments; made up from the schema if not given
    usage: dict[str, Any] | None = None  # instead of the true counts

    # When
    delay: float = 0.0  # before the head
    delay_body: float = 0.0  # between head and body
    interval: float | None = None  # between tokens

    # What goes wrong, and where: `at` counts tokens of a stream or bytes of a whole body; -1 = before the head
    do: Act | None = None
    at: int = 0
    frame: str = ""
    error: dict[str, Any] | str | None = None
    error_style: str = "data"  # or "event" (`event: error`), or "line" (`error: ...`)
    finish: bool = True  # send the chunk with the finish_reason
    done: bool = True  # send `data: [DONE]`
    trail: str = ""  # what follows the last frame
    split: int = 0  # write the body in pieces of this size
    line_end: str = "\n"

    # The head
    status: int = 200
    body: str | None = None  # instead of a JSON reply
    content_type: str | None = None  # "" = none
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = ""  # "close" (no length at all), "double" (two lengths), "chunked"
    length: int = 0  # added to the true Content-Length
    informational: int = 0  # 103 replies before the real one
    flood: int = 0  # further header lines
    header_bytes: int = 0  # size of one further header
    line_bytes: int = 0  # size of one line of body before the rest of a stream
    raw: str | None = None  # these bytes instead of any HTTP reply, then the connection closes
    close: bool = False  # close after the reply without having said so

    # Which requests
    path: str | None = None  # only those to this path
    times: int = 1  # so many of them

    def error_frame(self) -> bytes:
        error = (
            self.error
            if self.error is not None
            else {"code": 500, "message": "scripted failure", "type": "server_error"}
        )
        data = msgspec.json.encode({"error": error})
        match self.error_style:
            case "event":
                return b"event: error\ndata: " + data + b"\n\n"
            case "line":
                return b"error: " + msgspec.json.encode(error) + b"\n\n"
            case _:
                return b"data: " + data + b"\n\n"


GOOD = Fault()


def fault_of(value: object) -> Fault:
    """The `mock` field of a request body. InvalidRequest if it is not a fault script."""
    try:
        if isinstance(value, dict) and (unknown := value.keys() - Fault.__slots__):
            raise InvalidRequest(f"Unknown field in mock: {min(unknown)}.", param="mock")
        return msgspec.convert(value, Fault)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"mock is not a fault script: {error}.", param="mock") from None


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
