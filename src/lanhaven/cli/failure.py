"""Exit statuses, and the one exception that ends a command."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """What the exit status says. Documented in `lanhaven --help` and docs/cli.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORISED = 4
    NOT_FOUND = 5
    MODEL = 6
    UNSAFE_BIND = 78
    INTERRUPTED = 130


class CliError(Exception):
    """A command cannot go on.

    message: one sentence. tries: next steps, at least one, each a command or a short advice, the likeliest first.
    reply: the server's own error body, if it sent one.
    """

    def __init__(
        self,
        message: str,
        *tries: str,
        status: Exit = Exit.FAILED,
        code: str | None = None,
        reply: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.tries = tries or ("lanhaven doctor",)
        self.status = status
        self.code = code
        self.reply: Mapping[str, object] = reply or {}

    def trying(self, *tries: str) -> CliError:
        """The same failure with other next steps."""
        return CliError(self.message, *tries, status=self.status, code=self.code, reply=self.reply)
