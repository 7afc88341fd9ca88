"""What follows an upgrade offer that is not taken up."""

from __future__ import annotations

from typing import Protocol


class ParserEvents(Protocol):
    """The callbacks of httptools' request parser."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class AfterOffer:
    """Passes parser events on, except the first head.

    llhttp ends a request that offers an upgrade at its head and takes the rest for the new protocol. To read the body
    nevertheless, a fresh parser is fed a head with the same framing, which nobody needs to hear of a second time.
    """

    def __init__(self, events: ParserEvents) -> None:
        self._events = events
        self._known = True
        self.on_body = events.on_body
        self.on_message_complete = events.on_message_complete

    def on_message_begin(self) -> None:
        """A request line begins."""
        if not self._known:
            self._events.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        if not self._known:
            self._events.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if not self._known:
            self._events.on_header(name, value)

    def on_headers_complete(self) -> None:
        """The end of a head: only the first one is known already."""
        if not self._known:
            self._events.on_headers_complete()
        self._known = False
