"""The last lines a child wrote: bounded in number and width, whatever the child does (F-011)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

CROWD = 32_768  # bytes in one read above which only its first and last lines are looked at
KEEP = 64  # lines kept at each end of such a read


class LineSplitter:
    """Cuts bytes into lines and hands each on as text. Lines are cut at `width` bytes; the rest of a line is dropped.

    A pipe holds 64 KiB. A read that large means that the child writes faster than we look: its middle is dropped, so
    that a flood of 100 MB/s costs some hundred short strings per read and not a million.
    """

    def __init__(self, on_line: Callable[[str], None], width: int) -> None:
        self._on_line = on_line
        self._width = width
        self._partial = b""
        self.dropped = 0  # bytes that were never looked at

    def feed(self, data: bytes) -> None:
        for piece, ended in self._pieces(data):
            room = self._width - len(self._partial)
            self._partial += piece[:room]
            self.dropped += max(0, len(piece) - room)
            if ended:
                self._emit()

    def close(self) -> None:
        """The pipe ended: what stands without a newline is a line too."""
        if self._partial:
            self._emit()

    def _emit(self) -> None:
        line, self._partial = self._partial, b""
        self._on_line(_clean(line))

    def _pieces(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Parts of `data` in order, each with whether a newline follows it."""
        if len(data) < CROWD:
            *lines, last = data.split(b"\n")
        else:
            *head, rest = data.split(b"\n", KEEP)
            middle, *tail = rest.rsplit(b"\n", KEEP)
            if b"\n" in middle:
                self.dropped += len(middle)
                lines = [*head, *tail]
            else:
                lines = [*head, middle, *tail]
            last = lines.pop()
        for line in lines:
            yield line, True
        yield last, False


class LogRing:
    """The last `lines` lines of a child's standard error, each at most `width` bytes.

    on_line: gets each line. admit: what of a line is kept; None = nothing.
    """

    def __init__(
        self,
        on_line: Callable[[str], None] | None = None,
        *,
        admit: Callable[[str], str | None] = lambda line: line,
        lines: int = 1000,
        width: int = 1000,
    ) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._listener = on_line
        self._admit = admit
        self._splitter = LineSplitter(self._add, width)

    def feed(self, data: bytes) -> None:
        self._splitter.feed(data)

    def close(self) -> None:
        self._splitter.close()

    @property
    def dropped(self) -> int:
        """Bytes that were not kept: overlong lines, and the middle of floods."""
        return self._splitter.dropped

    def lines(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._lines)

    def _add(self, line: str) -> None:
        if (kept := self._admit(line)) is not None:
            self._lines.append(kept)
        if self._listener is not None:
            self._listener(line)

    def __repr__(self) -> str:
        return f"LogRing({len(self._lines)} lines, {self.dropped} bytes dropped)"


def _clean(line: bytes) -> str:
    """As text that is safe to print: terminal escapes and other control characters become a replacement character."""
    text = line.rstrip(b"\r").decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\t" else "\ufffd" for sign in text)
