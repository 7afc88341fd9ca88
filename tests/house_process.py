"""A real server as a process: `lanhaven up` as a user starts it, on a free port, with folders of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.streams import Events, Stream, said

PATIENCE = 60.0  # seconds that nothing here comes near
STRANGE = ("LANHAVEN_", "GATEWAY_", "LMSTUDIO_", "LM_STUDIO_", "XDG_")  # a tester's own settings are not the tests'
# What a server writes only if it is wrong itself.
DEFECTS = ("Traceback", "unhandled", "the application failed", "never retrieved", "never awaited", "Task was destroyed")
WORKERS = frozenset(
    {"lanhaven.engines.llamacpp_worker", "lanhaven.engines.mlx.worker", "lanhaven.engines.llama_python.worker"}
)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The machine's environment without settings of ours, and with folders below `home` (the sockets' apart: short)."""
    machine = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    places = {f"LANHAVEN_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {**machine, "HOME": str(home), **places, **settings}


def start(home: Path, models: str, *flags: str, **settings: str) -> tuple[subprocess.Popen[bytes], Path]:
    """`lanhaven up` on a free port with a home of its own; the process and its run file."""
    (home / "models.yaml").write_text(models)
    return spawn(home, "up", "--port", "0", "--models", str(home / "models.yaml"), *flags, **settings)


def spawn(home: Path, *words: str, **settings: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Any command; its output goes to server.log."""
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lanhaven", *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(home, **settings), cwd=home,
        )  # fmt: skip
    return process, home / "state" / "server.json"


def wait_ready(process: subprocess.Popen[bytes], run_file: Path, log: Path, seconds: float = 120) -> str:
    """The server's address, once it answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"lanhaven up ended with {process.returncode}:\n{log.read_text()}")
        if run_file.exists():
            url: str = json.loads(run_file.read_text())["url"]
            try:
                if httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200:
                    return url
            except httpx2.TransportError:
                pass
        time.sleep(0.05)
    pytest.fail(f"lanhaven up was not ready in {seconds:g} s:\n{log.read_text()}")


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Look again and again until `condition()` is true; what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
    return found


@contextmanager
def sockets_folder() -> Iterator[Path]:
    """A short path: that of a unix socket holds 103 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="lanhaven-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class HouseProcess:
    """A running server, seen from outside."""

    process: subprocess.Popen[bytes]
    home: Path
    run_dir: Path
    url: str
    http: httpx2.Client

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return (self.home / "server.log").read_text()

    def get(self, path: str) -> Any:
        """The body of a GET that must succeed."""
        reply = self.http.get(path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, **body: Any) -> Any:
        """The body of a POST that must succeed."""
        reply = self.http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def load(self, model: str, **body: Any) -> Any:
        return self.post("/admin/models/load", modelKey=model, **body)

    def unload(self, model: str, **body: Any) -> Any:
        return self.post("/admin/models/unload", modelKey=model, **body)

    def chat(self, text: str, **fields: Any) -> httpx2.Response:
        return self.http.post("/v1/chat/completions", json={"messages": said(text), **fields})

    def answer(self, text: str, **fields: Any) -> str:
        """What the model says."""
        reply = self.chat(text, **fields)
        assert reply.status_code == 200, reply.text
        content: str = reply.json()["choices"][0]["message"]["content"]
        return content

    @contextmanager
    def stream(self, text: str, **fields: Any) -> Iterator[Stream]:
        """A streamed chat, from its status line on."""
        body = {"messages": said(text), "stream": True, **fields}
        with self.http.stream("POST", "/v1/chat/completions", json=body) as reply:
            yield Stream(reply)

    def loaded(self) -> dict[str, dict[str, Any]]:
        """Instance identifier -> its entry."""
        return {each["identifier"]: each for each in self.get("/admin/models")["loaded"]}

    def engine_log(self, model: str, instance: str | None = None) -> str:
        query = f"?instance={instance}" if instance else ""
        return "\n".join(self.get(f"/admin/models/{model}/logs{query}")["lines"])

    def engines(self) -> set[int]:
        """Process ids of the children that run engines."""
        return engines_of(self.pid)

    def engine(self, load: Callable[[], Any]) -> int:
        """The process that `load` starts."""
        before = self.engines()
        load()
        (pid,) = self.engines() - before
        return pid

    @contextmanager
    def events(self) -> Iterator[Events]:
        """What happens from now on."""
        with closing(Events(self.url)) as events:
            events.until("connected")
            yield events

    def catch_up(self, events: Events) -> None:
        """Wait until `events` has read whatever has happened so far: the answer to a request may come before its end
        on the debug stream."""
        mark = f"mark-{uuid.uuid4()}"
        assert self.http.post("/admin/models/load", json={"modelKey": mark}).status_code == 404
        events.until("error", modelKey=mark)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def engines_of(pid: int) -> set[int]:
    """Living engine processes among the children of `pid`."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    return {child.pid for child in children if is_engine(child.pid)}


def is_engine(pid: int) -> bool:
    """Whether an engine's process lives under this id (a zombie does not)."""
    try:
        process = psutil.Process(pid)
        return not WORKERS.isdisjoint(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(home: Path, models: str, *flags: str, **settings: str) -> Iterator[HouseProcess]:
    """Serve these models until the block ends; then it must go down cleanly, unless it has gone already."""
    with ExitStack() as stack:
        run_dir = stack.enter_context(sockets_folder())
        process, run_file = start(home, models, *flags, LANHAVEN_RUN_DIR=str(run_dir), **settings)
        stack.callback(_end, process)
        url = wait_ready(process, run_file, home / "server.log")
        http = stack.enter_context(httpx2.Client(base_url=url, timeout=60, trust_env=False))
        house = HouseProcess(process, home, run_dir, url, http)
        until(lambda: "ready in" in house.log, "the banner")  # engines that were only asked for devices are gone then
        yield house
        if process.poll() is None:
            engines = house.engines()
            assert house.stop() == 0, house.log
            assert not {pid for pid in engines if is_engine(pid)}, "engines outlive their server"
        assert not [line for line in house.log.splitlines() if any(mark in line for mark in DEFECTS)]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE)
