"""`keys.json`, where earlier versions kept the keys: read strictly."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from lanhaven.keys.key import KeyInfo, KeyScope

FILE_NAME = "keys.json"
FORMAT = 1


class Damaged(Exception):
    """What is wrong with the file: the end of a sentence that begins with its name."""


def keys_in(content: bytes) -> tuple[KeyInfo, ...]:
    """The keys of the file. Damaged."""
    try:
        read = json.loads(content)
        if read["version"] != FORMAT:
            raise Damaged(f"has format {read['version']}, this program knows {FORMAT}")
        keys = tuple(_key(entry) for entry in read["keys"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("is damaged") from None
    if len({key.name for key in keys}) != len(keys):
        raise Damaged("names a key twice")
    return keys


def digest(content: bytes) -> bytes:
    """Tells one state of the file from another."""
    return hashlib.sha256(content).digest()


def _key(entry: dict[str, Any]) -> KeyInfo:
    digest = bytes.fromhex(entry["sha256"])
    if len(digest) != 32 or not isinstance(entry["name"], str):
        raise ValueError("not a key")
    return KeyInfo(
        name=entry["name"],
        scopes=frozenset(KeyScope(scope) for scope in entry["scopes"]),
        digest=digest,
        prefix=str(entry["prefix"]),
        created=_seconds(entry["created"]),
        last_used=_seconds(entry.get("last_used")),
    )


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
