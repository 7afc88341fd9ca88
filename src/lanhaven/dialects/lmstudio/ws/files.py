"""Files that clients upload: images for models that see. They are kept in memory, within bounds, and nowhere else.

An upload belongs to the connection's client and goes when the server ends, or when newer ones need its room. Nothing
here reads, splits or searches documents: those calls say what to do instead.
"""

from __future__ import annotations

import binascii
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.base import DialectContext
from lanhaven.dialects.lmstudio.ws.endpoint import Channel, ChannelHandler, Peer, Rpc
from lanhaven.dialects.lmstudio.ws.fields import table, text
from lanhaven.errors import InvalidRequest, NotFound, PayloadTooLarge, UnsupportedFeature

MOST_FILES = 256  # of all clients
MOST_BYTES = 256 << 20
LARGEST = 32 << 20  # one file
MOST_OF_A_CLIENT = 64

_IMAGES: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
        b"BM": "image/bmp",
    }
)
_WORD_FILES = (".doc", ".docx")
_TEXT_FILES = (".txt", ".md", ".csv", ".log", ".json", ".xml", ".html", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came. mime: of an image that can be shown, else None."""

    identifier: str
    client: str
    file_type: str  # "image", "text/plain", "application/pdf", "application/word", "text/other", "unknown"
    mime: str | None
    data: bytes

    @property
    def data_uri(self) -> str:
        return f"data:{self.mime};base64,{b64encode(self.data).decode()}"

    def __repr__(self) -> str:
        return f"Upload({self.identifier} {self.file_type} {len(self.data)} bytes)"


class Uploads:
    """All uploads, oldest first. The oldest go when the newest find no room."""

    def __init__(self, context: DialectContext) -> None:
        self._files: dict[str, Upload] = {}

    @property
    def held_bytes(self) -> int:
        return sum(len(each.data) for each in self._files.values())

    def add(self, client: str, name: str, data: bytes) -> Upload:
        """Keep a file; the same bytes twice are two files. PayloadTooLarge."""
        if len(data) > LARGEST:
            raise PayloadTooLarge(f"A file may have {LARGEST >> 20} MiB at most.", param="contentBase64", retry=False)
        file_type, mime = kind_of(name, data)
        upload = Upload(f"file-{secrets.token_hex(12)}", client, file_type, mime, data)
        own = [each for each in self._files.values() if each.client == client]
        for old in own[: max(0, len(own) - MOST_OF_A_CLIENT + 1)]:
            del self._files[old.identifier]
        while self._files and (len(self._files) >= MOST_FILES or self.held_bytes + len(data) > MOST_BYTES):
            del self._files[next(iter(self._files))]
        self._files[upload.identifier] = upload
        return upload

    def image(self, client: str, identifier: str) -> str:
        """The data URI of an image of this client. NotFound; InvalidRequest for a file that is no image."""
        upload = self._files.get(identifier)
        if upload is None or upload.client != client:
            raise NotFound(
                f"There is no uploaded file {identifier[:100]!r}.",
                hint="upload it again: files are kept until the server ends or newer ones need the room",
                retry=False,
            )
        if upload.mime is None:
            raise InvalidRequest(
                f"{identifier[:100]} is no image that can be shown (PNG, JPEG, WEBP, GIF, BMP).",
                hint="put the text of a document into the message",
                retry=False,
            )
        return upload.data_uri

    def __repr__(self) -> str:
        return f"Uploads({len(self._files)} files, {self.held_bytes} bytes)"


def kind_of(name: str, data: bytes) -> tuple[str, str | None]:
    """LM Studio's fileType, by content first, and the MIME type of an image that can be shown."""
    for mark, mime in _IMAGES.items():
        if data.startswith(mark):
            return "image", mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image", "image/webp"
    if data.startswith(b"%PDF-"):
        return "application/pdf", None
    low = name.lower()
    if low.endswith(_WORD_FILES):
        return "application/word", None
    if b"\0" in data[:4096]:
        return "unknown", None
    try:
        data.decode()
    except UnicodeDecodeError:
        return "unknown", None
    return ("text/plain" if low.endswith(_TEXT_FILES) or "." not in low else "text/other"), None


async def upload_file(peer: Peer, parameter: Any) -> dict[str, Any]:
    """uploadFileBase64 {name, contentBase64} -> {identifier, fileType, sizeBytes}."""
    peer.need("inference")
    asked = table(parameter)
    name, content = text(asked, "name"), asked.get("contentBase64")
    if not isinstance(content, str):
        raise InvalidRequest("contentBase64 must be a text.", param="contentBase64", retry=False)
    if len(content) > LARGEST * 4 // 3 + 4:
        raise PayloadTooLarge(f"A file may have {LARGEST >> 20} MiB at most.", param="contentBase64", retry=False)
    try:
        data = b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("contentBase64 is not Base64.", param="contentBase64", retry=False) from None
    upload = peer.state.of(Uploads).add(peer.client, name, data)
    return {"identifier": upload.identifier, "fileType": upload.file_type, "sizeBytes": len(data)}


async def no_local_file(peer: Peer, parameter: Any) -> None:
    raise UnsupportedFeature(
        "Uploaded files are kept in memory and have no path.", hint="upload the file with uploadFileBase64", retry=False
    )


async def no_parsing_library(peer: Peer, parameter: Any) -> None:
    raise _no_documents()


async def no_documents(peer: Peer, channel: Channel, parameter: Any) -> None:
    """retrieve, parseDocument."""
    raise _no_documents()


def _no_documents() -> UnsupportedFeature:
    return UnsupportedFeature(
        "LanHaven neither parses nor searches documents.",
        hint="put the text into the message; for searching, embed it with an embedding model",
        retry=False,
    )


RPCS: Mapping[str, Rpc] = MappingProxyType(
    {
        "uploadFileBase64": upload_file,
        "getLocalFileAbsolutePath": no_local_file,
        "getDocumentParsingLibrary": no_parsing_library,
    }
)
CHANNELS: Mapping[str, ChannelHandler] = MappingProxyType({"retrieve": no_documents, "parseDocument": no_documents})
