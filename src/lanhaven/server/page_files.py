"""The files of the dashboard as the build left them: a table by path, read once, so that no path means another file."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

BASE = "/ui/"  # where the page looks for its files (`base` in ui/vite.config.ts)
HASHED = f"{BASE}assets/"  # a name there holds a hash of the content
INDEX = f"{BASE}index.html"
PACKED = ("text/", "application/json", "image/svg+xml")  # what gzip makes smaller
SMALLEST_PACKED = 512
# `mimetypes` asks the machine: on Windows its registry, where .js may be text/plain, which no browser runs.
KINDS = MappingProxyType(
    {
        "css": "text/css; charset=utf-8",
        "html": "text/html; charset=utf-8",
        "ico": "image/vnd.microsoft.icon",
        "js": "text/javascript; charset=utf-8",
        "json": "application/json",
        "png": "image/png",
        "svg": "image/svg+xml",
        "txt": "text/plain; charset=utf-8",
        "woff2": "font/woff2",
    }
)
OTHER = "application/octet-stream"


@dataclass(frozen=True)
class File:
    """One file. `kind` is its content type."""

    body: bytes = field(repr=False)
    kind: str
    lasting: bool = False

    @cached_property
    def tag(self) -> str:
        """An ETag without its quotes."""
        return hashlib.sha256(self.body).hexdigest()[:20]

    @cached_property
    def packed(self) -> bytes | None:
        """Gzipped, when first asked for; None where that saves nothing."""
        if len(self.body) < SMALLEST_PACKED or not self.kind.startswith(PACKED):
            return None
        packed = gzip.compress(self.body, mtime=0)
        return packed if len(packed) < len(self.body) else None


def page_folder() -> Traversable:
    """Where the build of `ui/` leaves its files."""
    return files("lanhaven.server").joinpath("ui")


def read_files(folder: Traversable) -> Mapping[str, File]:
    """Path -> file; {} if the page was not built."""
    return dict(_below(folder, BASE)) if folder.is_dir() else {}


def _below(folder: Traversable, base: str) -> Iterator[tuple[str, File]]:
    for each in folder.iterdir():
        path = base + each.name
        if each.is_dir():
            yield from _below(each, f"{path}/")
        elif not each.name.startswith("."):
            kind = KINDS.get(each.name.rpartition(".")[2], OTHER)
            yield path, File(each.read_bytes(), kind, lasting=path.startswith(HASHED))
