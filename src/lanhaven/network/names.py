"""What this machine, and the server on it, are called on the network."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanhaven.config import Settings

LAST_NUMBER = 9  # lanhaven-9.local; who has more servers on one LAN names them


def machine_names() -> tuple[str, ...]:
    """What this machine is called, mDNS name included."""
    full = socket.gethostname().lower().rstrip(".")
    short = full.partition(".")[0]
    return (full, short, f"{short}.local") if short else ()


def candidates(settings: Settings) -> tuple[str, ...]:
    """The names that this server may get on the network, the wanted one first: what is taken is left to its owner."""
    if not (settings.lan and settings.mdns):
        return ()
    numbered = (f"{settings.mdns_name}-{number}.local" for number in range(2, LAST_NUMBER + 1))
    return (f"{settings.mdns_name}.local", *numbered)
