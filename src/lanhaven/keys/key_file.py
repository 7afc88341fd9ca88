"""The file of the key store: read strictly, written in one piece, locked, readable by its owner only."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lanhaven.config import atomic
from lanhaven.errors import GatewayError

log = logging.getLogger("lanhaven.keys")

FORMAT = 1
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(GatewayError):
    """The key file is damaged or not safe. The server does not start; message and hint say what to do."""

    code = "key_file"


class KeyScope(StrEnum):
    """What a key is good for."""

    INFERENCE = "inference"
    ADMIN = "admin"
    DEBUG = "debug"


ALL_SCOPES = frozenset(KeyScope)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key, without what would let anybody use it. Times are ISO 8601 in UTC; None = never."""

    name: str
    scopes: frozenset[KeyScope]
    digest: bytes  # SHA-256 of the key
    prefix: str = ""  # its first characters, to tell keys apart
    created: str | None = None
    last_used: str | None = None
    source: str = "file"  # "file", "settings" (GATEWAY_API_KEY), "run" (valid while this server runs)

    def __repr__(self) -> str:
        return f"KeyInfo({self.name}, {'+'.join(sorted(self.scopes))}, {self.prefix}...)"


Identity = tuple[int, int, int]


def identity(path: Path) -> Identity | None:
    """Changes whenever the file does; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read(path: Path) -> tuple[KeyInfo, ...]:
    """The keys in the file; () if there is none. KeyFileError if it is damaged, or others could read it."""
    try:
        make_private(path)
        content = json.loads(path.read_bytes())
        if content["version"] != FORMAT:
            raise KeyFileError(f"{path} has format {content['version']}, this program knows {FORMAT}.")
        keys = tuple(_decode(entry) for entry in content["keys"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeyFileError(
            f"The key file {path} is damaged.",
            hint="restore it, or delete it and add keys again (lanhaven keys add NAME)",
        ) from None
    if len({key.name for key in keys}) != len(keys):
        raise KeyFileError(f"The key file {path} names a key twice.")
    return keys


def write(path: Path, keys: tuple[KeyInfo, ...]) -> None:
    """Replace the file in one step. StorageFull, InternalError: the disk refuses, and the old one stays (F-173)."""
    content = {"version": FORMAT, "keys": [_encode(key) for key in keys]}
    atomic.write_text(path, json.dumps(content, indent=1))


def make_private(path: Path) -> None:
    """Take the file from other users' eyes; KeyFileError if that cannot be done. FileNotFoundError if there is none."""
    if os.name != "posix":
        return
    found = path.stat()
    if found.st_mode & OTHERS:
        log.warning("other users could read the key file %s: its mode is now 0600, consider new keys", path)
        try:
            path.chmod(0o600)
        except OSError:
            raise KeyFileError(f"Other users can read the key file {path}.", hint=f"chmod 600 {path}") from None
    if path.parent.stat().st_mode & stat.S_IWOTH and not path.parent.stat().st_mode & stat.S_ISVTX:
        log.warning("every user can replace files in %s, the key file among them: chmod 700 it", path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time changes the file. InternalError where its folder cannot be made, or written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.refused(path, error) from error
    with atomic.locked(path):
        yield


def _decode(entry: dict[str, Any]) -> KeyInfo:
    digest = bytes.fromhex(entry["sha256"])
    if len(digest) != 32 or not isinstance(entry["name"], str):
        raise ValueError("not a key")
    return KeyInfo(
        name=entry["name"],
        scopes=frozenset(KeyScope(scope) for scope in entry["scopes"]),
        digest=digest,
        prefix=str(entry["prefix"]),
        created=entry["created"],
        last_used=entry.get("last_used"),
    )


def _encode(key: KeyInfo) -> dict[str, Any]:
    return {
        "name": key.name,
        "sha256": key.digest.hex(),
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created": key.created,
        "last_used": key.last_used,
    }
