"""Uploaded files: what they are, how many are kept, and what is not done with them."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from lanhaven.dialects.lmstudio.ws import files as lmstudio_files
from lanhaven.dialects.lmstudio.ws.files import LARGEST, MOST_OF_A_CLIENT, Uploads, kind_of
from lanhaven.errors import InvalidRequest, NotFound, PayloadTooLarge
from tests.dialects.lmstudio.frames import MODELS, frames
from tests.serving import serving

PNG = b"\x89PNG\r\n\x1a\n"


def uploads() -> Uploads:
    return Uploads(None)  # type: ignore[arg-type]  # it keeps nothing of the context


@pytest.mark.parametrize(
    ("name", "data", "file_type", "mime"),
    [
        ("a", PNG, "image", "image/png"),
        ("a.txt", b"\xff\xd8\xff\xe0", "image", "image/jpeg"),
        ("a.gif", b"GIF89a", "image", "image/gif"),
        ("a.webp", b"RIFF\0\0\0\0WEBP", "image", "image/webp"),
        ("a.pdf", b"%PDF-1.7", "application/pdf", None),
        ("a.docx", b"PK\x03\x04", "application/word", None),
        ("a.txt", b"hello", "text/plain", None),
        ("README", b"hello", "text/plain", None),
        ("a.py", b"print()", "text/other", None),
        ("a.bin", b"\0\1", "unknown", None),
        ("a.txt", b"\xff\xfe", "unknown", None),
    ],
)
def test_what_a_file_is(name: str, data: bytes, file_type: str, mime: str | None) -> None:
    assert kind_of(name, data) == (file_type, mime)


def test_the_same_bytes_twice_are_two_files() -> None:
    kept = uploads()
    assert kept.add("me", "a.png", PNG).identifier != kept.add("me", "a.png", PNG).identifier


def test_the_oldest_go_first_and_each_client_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmstudio_files, "MOST_FILES", MOST_OF_A_CLIENT + 2)
    kept = uploads()
    other = kept.add("other", "a.png", PNG)
    mine = [kept.add("me", "a.png", PNG) for _ in range(MOST_OF_A_CLIENT + 1)]
    assert kept.image("other", other.identifier)
    with pytest.raises(NotFound):
        kept.image("me", mine[0].identifier)
    for _ in range(2):
        kept.add("third", "a.png", PNG)
    with pytest.raises(NotFound):
        kept.image("other", other.identifier)


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmstudio_files, "MOST_BYTES", 100)
    kept = uploads()
    for _ in range(10):
        kept.add("me", "a.png", PNG + b"\0" * 30)
    assert kept.held_bytes <= 100
    with pytest.raises(PayloadTooLarge):
        kept.add("me", "a.png", bytes(LARGEST + 1))


def test_what_is_no_image_cannot_be_shown() -> None:
    kept = uploads()
    with pytest.raises(InvalidRequest, match="no image"):
        kept.image("me", kept.add("me", "a.txt", b"hello").identifier)


@pytest.mark.anyio
async def test_an_upload(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "files") as client:
        sent = {"name": "note.txt", "contentBase64": b64encode(b"hello").decode()}
        found = await client.result("uploadFileBase64", sent)
        assert (found["fileType"], found["sizeBytes"]) == ("text/plain", 5)
        for wrong in ("not base64!", 3):
            error = await client.error("uploadFileBase64", {"name": "a", "contentBase64": wrong})
            assert "contentBase64" in error["title"]


@pytest.mark.anyio
@pytest.mark.parametrize("endpoint", ["getLocalFileAbsolutePath", "getDocumentParsingLibrary"])
async def test_what_is_not_done_says_what_to_do_instead(tmp_path: Path, endpoint: str) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "files") as client:
        assert (await client.error(endpoint, {"fileName": "a"}))["suggestion"]
        for channel in ("retrieve", "parseDocument"):
            packets: list[dict[str, Any]] = await client.channel(channel, {})
            assert packets[-1]["error"]["suggestion"]
