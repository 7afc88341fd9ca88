"""A port for a server that is to be there later, or to come back."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below those that systems hand out to whoever asks for any (from 32768 on, macOS from 49152 on): nobody else gets it.
PORTS = range(20_000, 30_000)


def free_port() -> int:
    """One that is free now, and stays so until somebody binds it on purpose."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
