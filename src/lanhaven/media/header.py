"""What the first bytes of an image say: its format and its size. Pure; nothing is decoded, and nothing is believed."""

from __future__ import annotations

from struct import error as TooShort  # noqa: N812 - that is what it says here
from struct import unpack_from
from typing import NamedTuple

HEAD_BYTES = 64 << 10  # that are looked at: enough for all but JPEGs with very long metadata before the picture
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
LONGEST_SIDE = 16384  # pixels; engines reckon in 32 bits

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame; those three are tables
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


class Header(NamedTuple):
    """format: PNG, JPEG, WEBP, BMP or GIF. width, height: pixels as stored; 0 where the head does not tell yet."""

    format: str
    width: int
    height: int


def read_header(head: bytes) -> Header | None:
    """None if this is the beginning of no image that is served. A header that is cut short has a size of 0."""
    for magic, name, size in _FORMATS:
        if head.startswith(magic) and (name != "WEBP" or head[8:12] == b"WEBP"):
            try:
                width, height = size(head)
            except (TooShort, IndexError):
                width, height = 0, 0
            return Header(name, width, height)
    return None


def _png(head: bytes) -> tuple[int, int]:
    width, height = unpack_from(">II", head, 16)
    return width, height


def _gif(head: bytes) -> tuple[int, int]:
    width, height = unpack_from("<HH", head, 6)
    return width, height


def _bmp(head: bytes) -> tuple[int, int]:
    if unpack_from("<I", head, 14)[0] == 12:
        width, height = unpack_from("<HH", head, 18)
    else:
        width, height = unpack_from("<ii", head, 18)
    return abs(width), abs(height)


def _webp(head: bytes) -> tuple[int, int]:
    match head[12:16]:
        case b"VP8 ":
            width, height = unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return _three(head, 24) + 1, _three(head, 27) + 1
    return 0, 0


def _three(head: bytes, at: int) -> int:
    return head[at] | head[at + 1] << 8 | head[at + 2] << 16


def _jpeg(head: bytes) -> tuple[int, int]:
    at = 2
    while True:
        while head[at] != 0xFF:
            at += 1
        while head[at] == 0xFF:
            at += 1
        marker = head[at]
        at += 1
        if marker in _JPEG_SIZES:
            height, width = unpack_from(">HH", head, at + 3)
            return width, height
        if marker not in _JPEG_ALONE:
            at += max(2, unpack_from(">H", head, at)[0])


_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "PNG", _png),
    (b"\xff\xd8\xff", "JPEG", _jpeg),
    (b"RIFF", "WEBP", _webp),
    (b"GIF87a", "GIF", _gif),
    (b"GIF89a", "GIF", _gif),
    (b"BM", "BMP", _bmp),
)
