"""Pictures of one colour, in the formats that are served."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Any

from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(
    kind: str = "PNG", color: Any = RED, size: tuple[int, int] = (32, 32), mode: str = "RGB", **options: Any
) -> bytes:
    """The bytes of an image file."""
    out = BytesIO()
    Image.new(mode, size, color).save(out, kind, **options)
    return out.getvalue()


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def data_uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64(data)}"


def part(source: str) -> dict[str, Any]:
    """A part of an OpenAI message."""
    return {"type": "image_url", "image_url": {"url": source}}


def asking(*sources: str, text: str = "What is this?") -> list[dict[str, Any]]:
    """The messages of a question about images."""
    return [{"role": "user", "content": [*map(part, sources), {"type": "text", "text": text}]}]


def opened(uri: str) -> Image.Image:
    """The image in a data URI."""
    import base64 as coding

    image = Image.open(BytesIO(coding.b64decode(uri.partition(",")[2], validate=True)))
    image.load()
    return image
