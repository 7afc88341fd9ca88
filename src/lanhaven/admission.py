"""Who may use what. The gateway asks for every request; who knows the keys answers, and nobody else has to think of it.

A client is named by its key, as in events; None: a server without keys, or a guest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lanhaven.types.models import ModelInfo


class Admission(Protocol):
    """Quick: it is asked in the path of every request."""

    def allows(self, client: str | None, info: ModelInfo) -> bool:
        """Whether the client may use this model, and may know of it."""
        ...

    def recognise(self, client: str | None) -> None:
        """Unauthorized for a client that there is no more: for connections that outlive their keys."""
        ...

    def check(self, client: str | None, info: ModelInfo, asked: str | None) -> None:
        """Forbidden where `allows` says no; Unauthorized for a client that there is no more. asked: what the client
        called it; None: nothing."""
        ...

    def admit(self, client: str | None, request_id: str, most: Callable[[], int | None]) -> None:
        """Count one more request, which is under way until its terminal event. RateLimited where it would be one too
        many: then it is not counted. most: tokens that it may take, prompt and answer; None where it does not say."""
        ...


class Everybody:
    """No bounds."""

    def allows(self, client: str | None, info: ModelInfo) -> bool:
        return True

    def recognise(self, client: str | None) -> None:
        return None

    def check(self, client: str | None, info: ModelInfo, asked: str | None) -> None:
        return None

    def admit(self, client: str | None, request_id: str, most: Callable[[], int | None]) -> None:
        return None
