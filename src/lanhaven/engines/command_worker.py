"""The child for a program that is not ours: starts it, waits until it takes requests, and ends with it.

It keeps the protocol of the other children (process.py) for a program that knows nothing of it: the program has an
empty standard input, and all it writes goes to the log. Whatever it forks stays in this process's group, which the
gateway ends as a whole. Run as `python -P -m lanhaven.engines.command_worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from lanhaven.engines.guard import die_with, limit, read_line

PROBE_EVERY = 0.1  # seconds
PROBE_TIMEOUT = 2.0
# Where a server says that it takes requests, if its settings do not say it: the second where the first is unknown.
USUAL = ("/health", "/v1/models")
UNKNOWN = frozenset({404, 405, 501})
NO_PROGRAM = 127  # exit code, as a shell's
OURS = "lanhaven: "  # begins the lines of the log that this worker writes


class Program:
    """The program, started. `settings`: command, env, cwd, socket or port, health (None = the usual ones), key, and
    metrics: where a llama-server tells its figures, None for other programs."""

    def __init__(self, settings: dict[str, Any]) -> None:
        ourselves = os.getpid()
        self._process = subprocess.Popen(
            settings["command"],
            env=settings["env"],
            cwd=settings["cwd"],
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: die_with(ourselves),
        )
        self._paths = list(USUAL) if settings["health"] is None else [settings["health"]]
        self._settings = settings
        self.last = "no answer"

    def ended(self) -> bool:
        return self._process.poll() is not None

    def is_ready(self) -> bool:
        """One question. A server that wants a key which it did not get is up as well."""
        path = self._paths[0]
        try:
            status = ask(self._settings, path)
        except (OSError, ValueError):
            self.last = f"no answer to GET {path}"
            return False
        self.last = f"GET {path} answers {status}"
        if status in UNKNOWN and len(self._paths) > 1:
            del self._paths[0]
        return 200 <= status < 300 or status in (401, 403)

    def end_with(self) -> NoReturn:
        """Wait for its end, and end in the same way."""
        code = self._process.wait()
        if code < 0:
            with contextlib.suppress(OSError, ValueError):  # there is no handler of SIGKILL to be taken back
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)

    def watch(self) -> None:
        """End it, by our end, if it computes for nobody (Linux: elsewhere its CPU time cannot be read so simply)."""
        from lanhaven.engines.llamacpp_worker import end_when_spinning

        with contextlib.suppress(OSError):  # it has ended
            end_when_spinning(lambda: _text(self._settings, self._settings["metrics"]), cpu=self._cpu)

    def _cpu(self) -> float:
        """Seconds; proc(5): the 14th and 15th field, after a name that may hold anything."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(settings: dict[str, Any], path: str) -> int:
    """The status of the answer to a GET. OSError, ValueError: there is none."""
    line = _get(settings, path, lambda answer: answer.readline(200))
    if not line.startswith(b"HTTP/1."):
        raise ValueError("no HTTP")
    return int(line.partition(b" ")[2][:3])


def _text(settings: dict[str, Any], path: str) -> str:
    """A whole answer to a GET; "" if there is none, which says nothing against the program."""
    try:
        return _get(settings, path, lambda answer: answer.read(1 << 20)).decode("utf-8", "replace")
    except OSError:
        return ""


def _get(settings: dict[str, Any], path: str, read: Callable[[BinaryIO], bytes]) -> bytes:
    with _connected(settings) as link, link.makefile("rb") as answer:
        key = f"Authorization: Bearer {settings['key']}\r\n" if settings["key"] else ""
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Connection: close\r\n\r\n".encode())
        return read(answer)


def _connected(settings: dict[str, Any]) -> socket.socket:
    if settings["socket"] is None:
        return socket.create_connection(("127.0.0.1", settings["port"]), PROBE_TIMEOUT)
    if sys.platform == "win32":
        raise OSError("no unix sockets here")
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(PROBE_TIMEOUT)
        link.connect(settings["socket"])
    except OSError:
        link.close()
        raise
    return link


def _say(out: int, event: str, **facts: object) -> None:
    with contextlib.suppress(OSError):  # the gateway is gone: the other thread's business
        os.write(out, json.dumps({"event": event, **facts}).encode() + b"\n")


def _note(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{OURS}{text}\n".encode())


def _follow_gateway() -> None:
    """The end of the pipe is the end of the gateway, and of all that belongs to us."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.killpg(0, signal.SIGKILL)


def _start(settings: dict[str, Any]) -> Program:
    try:
        return Program(settings)
    except OSError as error:
        _note(f"{os.path.basename(settings['command'][0])} cannot be started: {error.strerror}")  # noqa: PTH119
        os._exit(NO_PROGRAM)


def _wait_ready(program: Program, seconds: float | None) -> None:
    """Until it is ready, or has ended; if it takes too long, this process ends, and the gateway ends the group."""
    latest = time.monotonic() + (seconds or float("inf"))
    while not program.ended() and not program.is_ready():
        if time.monotonic() >= latest:
            _note(f"not ready within {seconds:g} s: {program.last}")
            os._exit(1)
        time.sleep(PROBE_EVERY)


def main() -> None:
    out = os.dup(1)  # not inherited
    os.dup2(2, 1)
    try:
        settings: dict[str, Any] = json.loads(read_line(0))
    except EOFError:
        os._exit(0)
    limit()
    program = _start(settings)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # they are for the program, whose end is ours
    threading.Thread(target=_follow_gateway, name="stdin", daemon=True).start()
    _wait_ready(program, settings["start_timeout"])
    if not program.ended():
        _say(out, "ready")
        if settings["metrics"] is not None and sys.platform == "linux":
            threading.Thread(target=program.watch, name="watch", daemon=True).start()
    program.end_with()


if __name__ == "__main__":
    main()
