"""How long each part of an exchange may take."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds; 0 = no limit (`connect` and `keep` excepted: 0 there means at once, and not at all).

    A limit is found out by a coarse clock (see `tick`), so it ends at most a tick late.
    """

    connect: float = 2.0  # TCP and TLS
    first_byte: float = 600.0  # streams: from the request to the first byte of the reply's body
    total: float = 120.0  # not streaming: from the request to the last byte
    idle: float = 300.0  # streams: between two pieces
    stream_total: float = 0.0  # streams: from the request to the last byte
    # llama.cpp, uvicorn and Node all close an idle connection after 5 s: we must be first, or the request that is
    # written in that moment dies with it.
    keep: float = 4.0

    @property
    def patient(self) -> Timers:
        """For whole replies that somebody waits for who would rather wait long: the time of a stream's first byte."""
        unlimited = not (self.total and self.first_byte)
        return replace(self, total=0.0 if unlimited else max(self.total, self.first_byte))

    @property
    def tick(self) -> float:
        """Seconds between two looks at the clocks: a quarter of the shortest limit, within 0.01 and 0.5."""
        limits = [each for each in (self.first_byte, self.total, self.idle, self.stream_total) if each > 0]
        return min(max(min(limits, default=2.0) / 4, 0.01), 0.5)
