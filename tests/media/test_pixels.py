"""What becomes of one image: read, turned, resized, flattened, written."""

from __future__ import annotations

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lanhaven.media.pixels import Job, Picture, Refused, convert
from tests.media.pictures import BLUE, GREEN, RED, picture

CLEAR_RED = (255, 0, 0, 0)


def converted(data: bytes, **job: Any) -> Picture:
    return convert(base64.b64encode(data), Job(base64=True, most_pixels=1_000_000, **job))


def image_of(made: Picture) -> Image.Image:
    assert made.data is not None, "it was passed as it is"
    image = Image.open(BytesIO(base64.b64decode(made.data, validate=True)))
    image.load()
    return image


def near(image: Image.Image, color: tuple[int, int, int], at: tuple[int, int] = (0, 0)) -> bool:
    found = image.convert("RGB").getpixel(at)
    return isinstance(found, tuple) and all(abs(one - other) < 30 for one, other in zip(found, color, strict=True))


@pytest.mark.parametrize(("kind", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_small_images_that_engines_read_pass_as_they_are(kind: str, mime: str) -> None:
    assert converted(picture(kind)) == Picture(mime, 32, 32, None)
    assert convert(picture(kind), Job(base64=False, most_pixels=10_000)).data == base64.b64encode(picture(kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_lies_behind_an_image_does_not_come_along(kind: str) -> None:
    made = converted(picture(kind) + b"PK\3\4 and a program")
    assert made.data is not None
    assert b"program" not in base64.b64decode(made.data)


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("color", [RED, GREEN, BLUE])
def test_others_become_what_engines_read(kind: str, color: tuple[int, int, int]) -> None:
    made = converted(picture(kind, color))
    image = image_of(made)
    assert made.mime == ("image/jpeg" if kind == "WEBP" else "image/png")
    assert image.format == made.mime.removeprefix("image/").upper()
    assert near(image, color, (16, 16))


def test_a_lossless_image_stays_lossless() -> None:
    assert converted(picture("WEBP", lossless=True)).mime == "image/png"


def test_exif_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    out = BytesIO()
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (0, 0, 32, 32))
    image.save(out, "JPEG", exif=exif, quality=95)
    turned = image_of(converted(out.getvalue()))
    assert turned.size == (32, 64)
    assert near(turned, BLUE, (16, 5))
    assert near(turned, RED, (16, 60))
    assert image_of(converted(out.getvalue(), width=16)).size == (16, 32)


def test_what_is_transparent_becomes_white_or_stays() -> None:
    clear = picture("PNG", CLEAR_RED, mode="RGBA")
    assert near(image_of(converted(clear)), (255, 255, 255))
    assert converted(clear, keep_alpha=True) == Picture("image/png", 32, 32, None)
    kept = image_of(converted(clear, keep_alpha=True, longest=8))
    assert (kept.mode, kept.size) == ("RGBA", (8, 8))
    assert converted(picture("PNG", (255, 0, 0, 255), mode="RGBA")).data is None, "an opaque screenshot passes"
    out = BytesIO()
    Image.new("P", (8, 8), 0).save(out, "GIF", transparency=0)
    assert near(image_of(converted(out.getvalue())), (255, 255, 255))


@pytest.mark.req("S4-30", "S4-x11")
@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({}, (300, 200)),
        ({"longest": 30}, (30, 20)),
        ({"width": 150}, (150, 100)),
        ({"height": 50}, (75, 50)),
        ({"width": 150, "height": 10}, (15, 10)),
        ({"longest": 3000, "width": 3000}, (300, 200)),  # never larger
        ({"longest": 1}, (1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_sizes(kind: str, limits: dict[str, int], size: tuple[int, int]) -> None:
    made = converted(picture(kind, GREEN, (300, 200)), **limits)
    assert (made.width, made.height) == size
    if made.data is not None:
        assert image_of(made).size == size
        assert near(image_of(made), GREEN)


def test_a_quality_makes_a_jpeg() -> None:
    noise = Image.effect_noise((100, 100), 80)
    out = BytesIO()
    noise.save(out, "PNG")
    fine, coarse = (converted(out.getvalue(), quality=quality) for quality in (95, 10))
    assert fine.mime == coarse.mime == "image/jpeg"
    assert len(fine.data or b"") > 2 * len(coarse.data or b"")


@pytest.mark.parametrize(
    ("mode", "color"), [("L", 200), ("1", 1), ("P", 3), ("CMYK", (0, 255, 255, 0)), ("I;16", 40000)]
)
def test_modes(mode: str, color: Any) -> None:
    data = picture("JPEG" if mode == "CMYK" else "PNG", color, mode=mode)
    made = converted(data, longest=16)
    assert image_of(made).mode in ("RGB", "L")
    if mode == "CMYK":
        assert near(image_of(made), RED)


def test_line_breaks_in_base64_are_taken_and_not_handed_on() -> None:
    wrapped = base64.encodebytes(picture())
    made = convert(wrapped, Job(base64=True, most_pixels=10_000))
    assert made.data == base64.b64encode(picture())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.req("F-166")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(50_000, 50_000), "pixels"),
        (png(20_000, 1), "pixels"),
        (b"<svg onload='x'/>", "format"),
        (b"", "format"),
    ],
)
def test_refused_by_the_head(data: bytes, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        converted(data)
    assert caught.value.reason == reason


@pytest.mark.req("F-166")
def test_text_that_inflates_without_end_is_not_kept() -> None:
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8 << 20), 9))
    with pytest.raises(Exception, match=r".") as caught:  # the class is Pillow's to choose
        converted(png(1, 1, bomb, chunk(b"IDAT", zlib.compress(b"\0\0"))), longest=8)
    assert not isinstance(caught.value, MemoryError)


@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.integers(0, 200), st.binary(min_size=1, max_size=20))
def test_a_damaged_image_harms_nobody(kind: str, at: int, damage: bytes) -> None:
    data = picture(kind)
    try:
        made = converted(data[:at] + damage + data[at + len(damage) :])
    except Exception:  # noqa: BLE001 - whatever Pillow raises: the worker answers "damaged"
        return
    assert made.width * made.height <= 1_000_000
