"""What the first bytes of an image say."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lanhaven.media.header import Header, read_header
from tests.media.pictures import picture

MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a", b"BM")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (300, 20), (17, 513)])
def test_the_size_is_the_one_that_a_decoder_finds(kind: str, size: tuple[int, int]) -> None:
    assert read_header(picture(kind, size=size)) == Header(kind, *size)


def test_all_kinds_of_webp() -> None:
    assert read_header(picture("WEBP", size=(40, 30), lossless=True)) == Header("WEBP", 40, 30)
    clear = picture("WEBP", (255, 0, 0, 9), (41, 31), "RGBA")
    assert read_header(clear) == Header("WEBP", 41, 31)
    frames = [Image.new("RGB", (42, 32), color) for color in ("red", "blue")]
    out = BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    assert read_header(out.getvalue()) == Header("WEBP", 42, 32)


def test_a_jpeg_with_metadata_before_its_picture() -> None:
    plain = picture("JPEG", size=(64, 32))
    block = b"\xff\xe1\x80\x00" + bytes(0x7FFE)
    assert read_header(plain[:2] + block + b"\xff\xff" + plain[2:]) == Header("JPEG", 64, 32)
    assert read_header((plain[:2] + block * 3 + plain[2:])[: 64 << 10]) == Header("JPEG", 0, 0)


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"II*\0", b"\0\0\1\0", b"8BPS", b"\x89PN"]
)
def test_what_is_no_image(data: bytes) -> None:
    assert read_header(data) is None


@given(st.sampled_from(MAGIC), st.binary(max_size=200))
def test_nothing_that_comes_behind_the_first_bytes_is_believed(magic: bytes, rest: bytes) -> None:
    found = read_header(magic + rest)
    assert found is not None
    assert found.width >= 0
    assert found.height >= 0
