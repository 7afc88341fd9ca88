"""One image with Pillow: read, turned as its EXIF says, made smaller, flattened, written as PNG or JPEG.

Runs in the worker process only: decoders are where a hostile image strikes, and one that decodes well for Pillow has
proved more than its header says before an engine sees it.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from io import BytesIO

import PIL.WebPImagePlugin  # noqa: F401 - Pillow loads all of its plugins for the first WEBP, unless this one is there
from PIL import Image, ImageOps, PngImagePlugin

from lanhaven.media.header import FORMATS, HEAD_BYTES, LONGEST_SIDE, read_header
from lanhaven.types.images import JPEG_QUALITY

_ORIENTATION = 0x0112  # EXIF
_LYING = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_BLANKS = b" \t\r\n"
_ENDS = {
    "JPEG": b"\xff\xd9",
    "PNG": b"IEND\xaeB`\x82",
}  # what is cut short, or has something behind it, is written anew


class Refused(Exception):
    """reason: one word of the protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Job:
    """What to do with an image. longest, width, height: pixels that it may have. quality: of a JPEG; None = as fits."""

    base64: bool
    most_pixels: int
    longest: int | None = None
    width: int | None = None
    height: int | None = None
    quality: int | None = None
    keep_alpha: bool = False

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """The size within the limits that keeps the proportions; never larger."""
        share = min(
            1.0,
            (self.longest or width + height) / max(width, height),
            (self.width or width) / width,
            (self.height or height) / height,
        )
        return max(1, round(width * share)), max(1, round(height * share))


@dataclass(frozen=True, slots=True)
class Picture:
    """The image as it goes to the model. data: Base64; None where the text that came can go as it is."""

    mime: str
    width: int
    height: int
    data: bytes | None


def convert(payload: bytes, job: Job) -> Picture:
    """Refused with format, base64, pixels; any other exception is one of Pillow's many ways to say "damaged"."""
    data, clean = _binary(payload) if job.base64 else (payload, False)
    check(data[:HEAD_BYTES], job.most_pixels)
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        _check_size(image.size, job.most_pixels)
        orientation = image.getexif().get(_ORIENTATION, 1) if image.format in ("JPEG", "WEBP") else 1
        shown = image.size[::-1] if orientation in _LYING else image.size
        target = job.fitted(*shown)
        whole = target == shown
        if image.format == "JPEG" and not whole:
            image.draft(None, target[::-1] if orientation in _LYING else target)  # decodes an eighth, a quarter, a half
        image.load()
        if (
            whole
            and orientation in (0, 1)
            and data.endswith(_ENDS.get(image.format or "", b"never"))
            and _plain(image, job)
        ):
            mime = "image/png" if image.format == "PNG" else "image/jpeg"
            return Picture(mime, *target, None if clean else binascii.b2a_base64(data, newline=False))
        turned = ImageOps.exif_transpose(image) if orientation not in (0, 1) else image
        return _written(_flat(turned, job.keep_alpha), target, _lossless(image, data), job)


def check(head: bytes, most_pixels: int) -> None:
    """By the header alone. Refused with format or pixels."""
    found = read_header(head)
    if found is None:
        raise Refused("format")
    _check_size((found.width, found.height), most_pixels)


def _check_size(size: tuple[int, int], most_pixels: int) -> None:
    width, height = size
    if width * height > most_pixels or max(width, height) > LONGEST_SIDE:
        raise Refused("pixels")


def _binary(text: bytes) -> tuple[bytes, bool]:
    """The bytes, and whether the text is plain Base64: line breaks are taken, but not handed on."""
    bare = text.translate(None, _BLANKS)
    try:
        return binascii.a2b_base64(bare, strict_mode=True), len(bare) == len(text)
    except binascii.Error:
        raise Refused("base64") from None


def _plain(image: Image.Image, job: Job) -> bool:
    """Whether every engine reads these bytes, and sees in them what Pillow saw."""
    match image.format:
        case "JPEG":
            return image.mode in ("RGB", "L") and job.quality is None
        case "PNG":
            moving = isinstance(image, PngImagePlugin.PngImageFile) and image.is_animated
            plain = image.mode in ("RGB", "L", "P", "RGBA", "LA")
            return plain and not moving and job.quality is None and (job.keep_alpha or _opaque(image))
        case _:
            return False


def _opaque(image: Image.Image) -> bool:
    if image.mode in ("RGBA", "LA"):
        return image.getchannel("A").getextrema()[0] == 255
    return "transparency" not in image.info


def _lossless(image: Image.Image, data: bytes) -> bool:
    return image.format in ("PNG", "GIF", "BMP") or (image.format == "WEBP" and data[12:16] == b"VP8L")


def _flat(image: Image.Image, keep_alpha: bool) -> Image.Image:
    """RGB, L, or with its transparency RGBA; else what is transparent becomes white."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    if keep_alpha:
        return clear
    white = Image.new("RGB", clear.size, "white")
    white.paste(clear, mask=clear.getchannel("A"))
    return white


def _written(image: Image.Image, size: tuple[int, int], lossless: bool, job: Job) -> Picture:
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    image.info = {}  # no colour profile and no comment goes on
    out = BytesIO()
    if image.mode == "RGBA" or (lossless and job.quality is None):
        image.save(out, "PNG", compress_level=3)
        mime = "image/png"
    else:
        image.save(out, "JPEG", quality=job.quality or JPEG_QUALITY)
        mime = "image/jpeg"
    return Picture(mime, *size, binascii.b2a_base64(out.getvalue(), newline=False))
