"""Host names under which this server answers (F-105). A web page's name that was made to resolve to us is none."""

from __future__ import annotations

from collections.abc import Iterable

from lanhaven.network.addresses import Ip, parse

REMEMBERED = 1024  # Host headers whose verdict is cached

LOCAL = ("localhost", "127.0.0.1", "::1")


class HostNames:
    """The Host allowlist. `names`: lower case, without port; IP addresses without brackets."""

    def __init__(self, names: Iterable[str], own: Iterable[Ip] = ()) -> None:
        listed = frozenset({*LOCAL, *names})
        literals = {name: parse(name) for name in listed}
        self._names = frozenset(name for name, address in literals.items() if address is None)
        self._own = frozenset(own) | {address for address in literals.values() if address is not None}
        self._known: dict[tuple[bytes, str], bool] = {}

    def __repr__(self) -> str:
        return f"HostNames({', '.join(sorted(self._names))}; {len(self._own)} own addresses)"

    def allows(self, host: bytes, arrived_at: str) -> bool:
        """Whether a request for `host` (with or without a port) is for us; `arrived_at` is our end of the connection.

        An address literal is for us when it is one of this machine's: the ones known at the start, or the one that the
        connection really came in on (addresses change while we run).
        """
        key = (host, arrived_at)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._decide(bare_name(host), arrived_at)
        return known

    def _decide(self, name: str, arrived_at: str) -> bool:
        if name in self._names:
            return True
        address = parse(name)
        return address is not None and (address in self._own or address == parse(arrived_at))


def bare_name(host: bytes) -> str:
    """The name in a Host header: lower case, without port, brackets and the root's dot."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")
