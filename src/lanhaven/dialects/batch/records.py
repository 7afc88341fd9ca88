"""Files and batches as they are kept, and as OpenAI's clients are told of them. Times: seconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """validating, in_progress, finalizing, completed is the usual way; failed, expired and cancelled end it too."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (Status.COMPLETED, Status.EXPIRED, Status.FAILED, Status.CANCELLED)


class FileRecord(msgspec.Struct, frozen=True):
    """owner: name of the key that it belongs to; empty on a server without keys."""

    id: str
    owner: str
    filename: str
    purpose: str  # batch, batch_output
    bytes: int
    created_at: int
    expires_at: int

    def told(self) -> dict[str, Any]:
        """OpenAI's file object."""
        said = msgspec.to_builtins(self)
        del said["owner"]
        return {"object": "file", "status": "processed", **said}


class LineError(msgspec.Struct, frozen=True):
    """What is wrong with a line (from 1; None: with the file)."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchRecord(msgspec.Struct, kw_only=True):
    """One batch. total, completed, failed: requests. The tokens are sums over all answers."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    metadata: dict[str, str] | None = None
    keep: int | None = None  # seconds that the results are kept, if the client said so
    status: Status = Status.VALIDATING
    model: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[LineError] = []
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None

    def become(self, status: Status, now: int) -> None:
        """The next status, with its time."""
        self.status = status
        match status:
            case Status.IN_PROGRESS:
                self.in_progress_at = now
            case Status.FINALIZING:
                self.finalizing_at = now
            case Status.COMPLETED:
                self.completed_at = now
            case Status.EXPIRED:
                self.expired_at = now
            case Status.FAILED:
                self.failed_at = now
            case Status.CANCELLING:
                self.cancelling_at = now
            case Status.CANCELLED:
                self.cancelled_at = now
            case Status.VALIDATING:
                pass

    def count(self, ok: bool, usage: dict[str, Any]) -> None:
        """One more request is over. usage: as a reply tells it, in the words of chat or of responses."""
        self.completed += ok
        self.failed += not ok
        self.input_tokens += _number(usage, "prompt_tokens", "input_tokens")
        self.output_tokens += _number(usage, "completion_tokens", "output_tokens")
        self.cached_tokens += _number(_part(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
        details = _part(usage, "completion_tokens_details", "output_tokens_details")
        self.reasoning_tokens += _number(details, "reasoning_tokens")

    def told(self) -> dict[str, Any]:
        """OpenAI's batch object."""
        said = msgspec.to_builtins(self)
        for name in ("owner", "keep", "total", "completed", "failed"):
            del said[name]
        usage = {name: said.pop(f"{name}_tokens") for name in ("input", "cached", "output", "reasoning")}
        return {
            "object": "batch",
            **said,
            "errors": {"object": "list", "data": said["errors"]} if self.errors else None,
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "usage": {
                "input_tokens": usage["input"],
                "input_tokens_details": {"cached_tokens": usage["cached"]},
                "output_tokens": usage["output"],
                "output_tokens_details": {"reasoning_tokens": usage["reasoning"]},
                "total_tokens": usage["input"] + usage["output"],
            },
        }


def _number(said: dict[str, Any], *names: str) -> int:
    found = next((said[name] for name in names if isinstance(said.get(name), int)), 0)
    return int(found)


def _part(said: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((said[name] for name in names if isinstance(said.get(name), dict)), {})
