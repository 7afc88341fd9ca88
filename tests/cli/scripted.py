"""A server on a real socket that answers as the test says, and the command line as a real process."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0  # seconds that nothing here comes near


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


Answer = Callable[["Handler", Asked], None]


class Handler(BaseHTTPRequestHandler):
    """Looks the request up in the script of its server."""

    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: Any) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.asked.append(asked)
        answer = self.server.script.get((self.command, path))
        if answer is None:
            self.reply(404, {"error": "Not found", "code": "not_found"})
        else:
            answer(self, asked)

    def reply(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def begin_events(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def event(self, data: Any, name: str | None = None) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write((f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode())
        self.wfile.flush()

    def wait_for_leaving(self) -> None:
        """Until the client closes its connection."""
        ready, _, _ = select.select([self.connection], [], [], PATIENCE)
        if ready and self.connection.recv(1) == b"":
            self.server.left.set()
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class Scripted(ThreadingHTTPServer):
    """`script` maps (method, path) to a function that answers; `asked` keeps every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: dict[tuple[str, str], Answer] = {}
        self.asked: list[Asked] = []
        self.left = threading.Event()
        self.reached = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def says(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.script[method, path] = lambda handler, _: handler.reply(status, body)

    def does(self, method: str, path: str, answer: Answer) -> None:
        self.script[method, path] = answer

    def bodies(self, path: str) -> list[Any]:
        return [each.body for each in self.asked if each.path == path]


@contextmanager
def scripted() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Result:
    """How a command ended. On a terminal everything is in `out`."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.out).splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


@dataclass
class Cli:
    """Runs `lanhaven` with a home of its own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: str = "", **variables: str) -> Result:
        done = subprocess.run(
            self._command(words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=self._environment(variables),
            cwd=self.home,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(variables),
            cwd=self.home,
        )

    @contextmanager
    def terminal(self, *words: str, columns: int = 140, **variables: str) -> Iterator[Terminal]:
        """The command on a terminal of its own."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = self._environment({"TERM": "xterm-256color", **variables})
        process = subprocess.Popen(
            self._command(words), stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=self.home
        )
        os.close(theirs)
        terminal = Terminal(process, ours)
        try:
            yield terminal
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            os.close(ours)

    def on_terminal(self, *words: str, columns: int = 140, **variables: str) -> Result:
        with self.terminal(*words, columns=columns, **variables) as terminal:
            return terminal.finish()

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "lanhaven", *words]

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        own = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONWARNINGS": "error",
            "LANG": "C.UTF-8",
        }
        return own | self.environment | dict(variables)


class Terminal:
    """A process on a terminal: read until a text appears, type, interrupt."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = ""
        self._position = 0
        self._interrupted = False

    def until(self, text: str) -> str:
        """Everything up to now, once `text` has come after what the last call waited for."""
        while (found := self._seen.find(text, self._position)) < 0:
            if not self._read():
                raise AssertionError(f"the terminal closed before {text!r}: {self._seen!r}")
        self._position = found + len(text)
        return self._seen

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def interrupt(self) -> None:
        self._interrupted = True
        self.process.send_signal(signal.SIGINT)

    def interrupt_until(self, text: str) -> None:
        """Ctrl-C, again if need be: Python's prompt is deaf between writing itself and waiting for a key."""
        while text not in self._seen[self._position :]:
            self.interrupt()
            if select.select([self._descriptor], [], [], 0.5)[0]:
                self._read()

    def finish(self) -> Result:
        """Until it has ended. A Ctrl-C is repeated where nothing follows: one that comes between Python's last look for
        signals and its waiting in the system is not noticed before the next (CPython handles signals between bytecodes)."""
        while self._interrupted and not select.select([self._descriptor], [], [], 1.0)[0]:
            self.process.send_signal(signal.SIGINT)
        while self._read():
            pass
        return Result(self.process.wait(PATIENCE), self._seen.replace("\r\n", "\n"), "")

    def _read(self) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], PATIENCE)
        if not ready:
            raise AssertionError(f"nothing more came: {self._seen!r}")
        try:
            piece = os.read(self._descriptor, 65536)
        except OSError:  # EIO: the last process on the terminal has gone
            return False
        self._seen += piece.decode("utf-8", "replace")
        return bool(piece)
