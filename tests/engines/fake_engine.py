"""A child process that behaves as its settings say. It takes requests on a unix socket, or not; see `BEHAVIOURS`."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lanhaven.engines.guard import Parent

Settings = dict[str, Any]


def listen(settings: Settings) -> None:
    """Answers every connection with the status in `status` (200), or once `mute_after` is over, leaves it waiting."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(settings["listen"])
    server.listen()
    reply = f"HTTP/1.1 {settings.get('status', 200)} OK\r\nContent-Length: 0\r\n\r\n".encode()

    def serve() -> None:
        waiting = []
        for number in itertools.count():
            connection, _ = server.accept()
            if number >= settings.get("mute_after", sys.maxsize):
                waiting.append(connection)
                os.write(2, b"unanswered\n")
                continue
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()


def ignore_term(settings: Settings) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def fork(settings: Settings) -> None:
    """A grandchild that ignores SIGTERM, as a wrapper script's engine might; its pid goes to the file `fork`."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    grandchild = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    if grandchild.stdout is not None:
        grandchild.stdout.readline()
    Path(settings["fork"]).write_text(str(grandchild.pid))


def write(settings: Settings) -> None:
    os.write(2, settings["write"].encode())


def flood(settings: Settings) -> None:
    """`flood` bytes in lines, `flood` bytes without a newline, then the line FLOODED."""

    def work() -> None:
        lines = (b"x" * 99 + b"\n") * 1000
        for block in (lines, b"y" * len(lines)):
            for _ in range(settings["flood"] // len(block)):
                os.write(2, block)
        os.write(2, b"\nFLOODED\n")

    threading.Thread(target=work, daemon=True).start()


def leave(settings: Settings) -> None:
    sys.exit(settings["leave"])


def spin(settings: Settings) -> None:
    """Uses the CPU, as an engine does that computes."""

    def work() -> None:
        while True:
            pass

    threading.Thread(target=work, daemon=True).start()


def hold_gil(settings: Settings) -> None:
    """As llama.cpp does while it loads: no other thread of this process runs."""
    os.write(2, b"holding the GIL\n")
    ctypes.PyDLL(None).sleep(60)


def never(settings: Settings) -> None:
    """Never says that it is ready."""
    threading.Event().wait()


def allocate(settings: Settings) -> None:
    settings["kept"] = os.urandom(settings["allocate"])


BEHAVIOURS: tuple[Callable[[Settings], None], ...] = (
    *(ignore_term, allocate, fork, write, listen),
    *(flood, leave, spin, hold_gil, never),
)


def main() -> None:
    parent = Parent()
    settings = parent.settings()
    os.write(1, b"output goes to the log\n")
    for behaviour in BEHAVIOURS:
        if settings.get(behaviour.__name__):
            behaviour(settings)
    if "fail" in settings:
        parent.say("failed", message=settings["fail"])
        sys.exit(1)
    parent.say("unknown")
    parent.say("ready", port=0, bound=settings["die_with_parent"])
    threading.Event().wait()


if __name__ == "__main__":
    main()
