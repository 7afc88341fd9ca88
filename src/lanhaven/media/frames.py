"""What goes through the pipes between the server and a process that reads images: a JSON head and bytes. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

PREFIX = struct.Struct(">II")  # bytes of the head, bytes behind it
MOST_HEAD = 4096


def frame(head: Mapping[str, Any], size: int) -> bytes:
    """The beginning of a message whose payload of `size` bytes follows."""
    told = json.dumps(head).encode()
    return PREFIX.pack(len(told), size) + told


def sizes(prefix: bytes) -> tuple[int, int]:
    """(bytes of the head, bytes of the payload). ValueError for what no partner of ours writes."""
    head, payload = PREFIX.unpack(prefix)
    if head > MOST_HEAD:
        raise ValueError("a head that is too long")
    return int(head), int(payload)
