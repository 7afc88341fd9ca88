"""From what stands in a body to an image's bytes or Base64, checked by its first bytes. Pure."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from lanhaven.errors import InvalidRequest, PayloadTooLarge
from lanhaven.media.header import HEAD_BYTES, LONGEST_SIDE, read_header

_LONGEST_TYPE = 256  # characters before the comma of a data URI
_HEAD_CHARS = HEAD_BYTES // 3 * 4
_TYPE = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,=]+=[^;,]*)*;base64", re.IGNORECASE)
_TYPES = re.compile(r"|image/[a-z0-9.+-]+|application/octet-stream", re.IGNORECASE)
_BLANKS = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one image, and of one request."""

    most_images: int = 10
    most_bytes: int = 20 << 20
    most_pixels: int = 50_000_000
    most_request: int = 32 << 20  # bytes of a form with images


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image as it came. start: where its Base64 begins in `text`; `raw` is set instead for uploaded bytes."""

    text: str = ""
    start: int = 0
    raw: bytes | None = None

    def payload(self) -> bytes:
        """What is sent to be read."""
        return self.raw if self.raw is not None else self.text[self.start :].encode("ascii", "replace")


def is_address(source: object) -> bool:
    """Whether a source says where an image lies, and is not the image itself."""
    return isinstance(source, str) and source[:5].lower() != "data:"


def read_source(source: object, limits: Limits, place: str, number: int) -> Encoded:
    """A data URI, or bytes. InvalidRequest or PayloadTooLarge by size, Base64 and first bytes; nothing is decoded."""
    if isinstance(source, bytes):
        found, size, head = Encoded(raw=source), len(source), source[:HEAD_BYTES]
    elif isinstance(source, str):
        start = _start(source, place, number)
        found, size = Encoded(source, start), (len(source) - start) * 3 // 4
        head = _head(source[start : start + _HEAD_CHARS], place, number)
    else:
        raise refused("source", limits, place, number)
    if size > limits.most_bytes + 2:
        raise refused("bytes", limits, place, number)
    header = read_header(head)
    if header is None:
        raise refused("format", limits, place, number)
    if header.width * header.height > limits.most_pixels or max(header.width, header.height) > LONGEST_SIDE:
        raise refused("pixels", limits, place, number)
    return found


def _start(source: str, place: str, number: int) -> int:
    """Behind the comma of a data URI (RFC 2397) in Base64."""
    comma = source.find(",", 0, _LONGEST_TYPE)
    said = _TYPE.fullmatch(source, 0, comma) if comma > 0 else None
    if said is None or _TYPES.fullmatch(said["type"]) is None:
        raise refused("source", Limits(), place, number)
    return comma + 1


def _head(text: str, place: str, number: int) -> bytes:
    bare = text.translate(_BLANKS)
    try:
        return binascii.a2b_base64(bare[: len(bare) // 4 * 4], strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is what is said of letters beyond ASCII
        raise refused("base64", Limits(), place, number) from None


def refused(reason: str, limits: Limits, place: str, number: int) -> InvalidRequest | PayloadTooLarge:
    """The error for a reason that is one word. Nothing of the image, and no words of a decoder, stand in it."""
    if reason == "bytes":
        told = f"Image {number} has more than {limits.most_bytes} bytes."
        return PayloadTooLarge(told, param=place, retry=False, facts={"limit_bytes": limits.most_bytes})
    told = {
        "source": "must be a data: URI with an image in Base64: data:image/png;base64,...",
        "base64": "is not Base64.",
        "format": "is no JPEG, PNG, WEBP, BMP or GIF.",
        "pixels": f"has more than {limits.most_pixels} pixels, or a side of more than {LONGEST_SIDE}.",
        "costs": "takes too much time or memory to read.",
        "slow": "takes too long to read.",
    }.get(reason, "is damaged.")
    return InvalidRequest(f"Image {number} {told}", param=place, retry=False)
