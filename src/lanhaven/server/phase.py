"""What an HTTP connection waits for."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """A connection is in one of these."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    IDLE = "idle"
    CLOSING = "closing"
