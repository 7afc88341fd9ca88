"""Where the blocks of the documentation run: a home of their own, and in it a server, started as a user starts it.

The server is a real one with SmolLM2 and MiniLM, found by the command line through its run file. Two things differ from
a user's machine: the port (8002 may be taken, so the blocks' address is replaced), and answers are short by default.
"""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from lanhaven import runfile
from lanhaven.packed import PACKED
from tests.cli.scripted import ROOT, Terminal
from tests.docs.shell import Kind, carried, commands, kind
from tests.media.pictures import BLUE, picture
from tests.vision import make_eyes

ADDRESS = "http://127.0.0.1:8002"
PATIENCE = 50.0  # seconds that nothing here comes near
# What a document may leave: files on the desk, what a server and npm note for themselves.
PASSING = ("work/", "server.log", "run/", ".cache/", ".npm/", ".local/state/", ".local/share/lanhaven/")
SHORT = "defaults: {maxTokens: 48}, "  # where a block does not say how long an answer may be


@dataclass
class Home:
    """A folder that programs take for the user's home. `models`: files of the packed models, by name. `seeing`: there are
    pictures, and a model `seeing` for them."""

    path: Path
    models: Mapping[str, Path]
    seeing: bool = False
    url: str = ADDRESS
    done: list[str] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The folder that commands run in."""
        return self.path / "work"

    def furnish(self) -> Home:
        """Put what the blocks take for granted: fetched models, a model in ~/models, a text file."""
        fetched = self.path / ".local/share/lanhaven/models"
        for folder in (fetched, self.path / "models", self.work):
            folder.mkdir(parents=True, exist_ok=True)
        for name, file in self.models.items():
            for place in (fetched, self.path / "models"):
                (place / PACKED[name].file.name).symlink_to(file)
        self._set_desk()
        if self.seeing:
            self._give_eyes()
        return self

    def _set_desk(self) -> None:
        for name in ("tests", "clients"):  # commands for developers are meant for the checkout
            (self.work / name).symlink_to(ROOT / name)
        (self.work / "notes.txt").write_text("The sea was calm. Nobody swam.\n")

    def clear_desk(self) -> None:
        """The folder that commands run in, as it was."""
        for each in self.work.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()
        self._set_desk()

    def changed(self) -> list[str]:
        """The files that came, went or changed since the server is ready, but on the desk and where it writes itself."""
        now = self._files()
        return sorted(each for each in now.keys() | self.first.keys() if now.get(each) != self.first.get(each))

    def _files(self) -> dict[str, int]:
        """Path -> when it was written."""
        found = (each for each in self.path.rglob("*") if not each.is_dir() or each.is_symlink())
        paths = {each.relative_to(self.path).as_posix(): each.lstat().st_mtime_ns for each in found}
        return {path: written for path, written in paths.items() if not path.startswith(PASSING)}

    def _give_eyes(self) -> None:
        model = self.models["smollm2"]
        (self.path / "models/vision-model.gguf").symlink_to(model)
        make_eyes(model, self.path / "models/mmproj-vision-model.gguf")
        (self.work / "photo.jpg").write_bytes(picture("JPEG", size=(640, 480)))
        (self.work / "chart.webp").write_bytes(picture("WEBP", BLUE, (300, 200)))

    def environment(self) -> dict[str, str]:
        bin_folder = str(Path(sys.executable).parent)
        return {
            "HOME": str(self.path),
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "GOMP_SPINCOUNT": os.environ["GOMP_SPINCOUNT"],  # see tests/conftest.py
        }

    def here(self, text: str) -> str:
        """`text` with the address of this home's server."""
        return text.replace(ADDRESS, self.url).replace("127.0.0.1:8002", self.url.removeprefix("http://"))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.work, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip

    # Blocks

    def shell(self, text: str) -> None:
        """Run the commands of a shell block; AssertionError tells which one failed and how."""
        before: list[str] = []
        for command in commands(text):
            match kind(command):
                case Kind.NEVER:
                    continue
                case Kind.STARTING:
                    self._starts(command)
                case Kind.LASTING:
                    self._lasts("\n".join((*before, self.here(command))))
                case Kind.TALK:
                    self._talks(command)
                case Kind.PLAIN:
                    script = "\n".join((*before, self.here(command)))
                    done = self.run("bash", "-eu", "-o", "pipefail", "-c", script)
                    assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
            self.done.append(command)
            if carried(command):
                before.append(self.here(command))

    def python(self, text: str) -> str:
        """Run a Python block, which may await at its top level; returns what it wrote."""
        path = self.work / "block.py"
        path.write_text(self.here(text), encoding="utf-8")
        done = self.run(sys.executable, str(Path(__file__).with_name("run_python.py")), str(path))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def javascript(self, text: str) -> str:
        """Run a JavaScript block as a module that finds the client; returns what it wrote."""
        package = self.work / "node_modules/lanhaven"
        if not package.exists():
            package.parent.mkdir(exist_ok=True)
            package.symlink_to(ROOT / "clients/js")
        path = self.work / "block.mjs"
        path.write_text(self.here(text), encoding="utf-8")
        done = self.run("node", str(path))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _starts(self, command: str) -> None:
        """In a home of its own: a second server of one user is refused (a mock is not). `--lan` stays on this machine."""
        alone = self if command.startswith("lanhaven mock") else self._another()
        if "--lan" in command:
            command = command.replace("--lan", "--lan --host 127.0.0.1")
        with alone.terminal(command) as terminal:
            terminal.until("ready in")
            terminal.until("\n")
            terminal.interrupt()
            assert terminal.finish().status == 0, command

    def _another(self) -> Home:
        place = self.path.parent / f"{self.path.name}-{len(self.done)}"
        place.mkdir()
        return Home(place, self.models).furnish()

    def _lasts(self, command: str) -> None:
        """Until it has written a line. Meanwhile somebody uses the server."""
        with somebody_at(self.url, self._token()), self.terminal(command) as terminal:
            terminal.until("\n")
            os.killpg(terminal.process.pid, signal.SIGINT)
            terminal.finish()

    def _talks(self, command: str) -> None:
        with self.terminal(self.here(command)) as terminal:
            terminal.until(">>> ")
            terminal.type("Say hello.\n")
            terminal.until(" tokens")
            terminal.until(">>> ")
            terminal.type("\x04")
            assert terminal.finish().status == 0, command

    @contextmanager
    def terminal(self, command: str) -> Iterator[Terminal]:
        """The command on a terminal, as the leader of a group of its own."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.work, env=self.environment(), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(ours)

    def _token(self) -> str:
        info = runfile.read(self.path / ".local/state/lanhaven")
        assert info is not None
        return info.token

    # Its server

    def http(self) -> httpx2.Client:
        """For whoever may do everything."""
        return client(self.url, self._token())

    @contextmanager
    def serving(self, *flags: str) -> Iterator[Home]:
        """`lanhaven up` with these flags, until the block is left."""
        (self.path / ".config/lanhaven").mkdir(parents=True)
        (self.path / ".config/lanhaven/models.yaml").write_text(self._models())
        log = self.path / "server.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "lanhaven", "up", "--port", "0", *flags], cwd=self.work,
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        try:
            self.url = self._address(process, log)
            self.first = self._files()
            yield self
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0, log.read_text()

    def _models(self) -> str:
        """What `lanhaven get` writes, with answers that are short by default."""
        entries = (
            f"  - {{id: {name}, provider: llama_cpp, {SHORT}config: {{model_path: {path}}}}}"
            for name, path in self.models.items()
        )
        eyes = (
            f"model_path: {self.path}/models/vision-model.gguf",
            f"mmproj_path: {self.path}/models/mmproj-vision-model.gguf",
        )
        seeing = (
            [f"  - {{id: seeing, provider: llama_cpp, {SHORT}config: {{{', '.join(eyes)}}}}}"] if self.seeing else []
        )
        return "\n".join(("default_model: smollm2", "models:", *entries, *seeing, ""))

    def _address(self, process: subprocess.Popen[bytes], log: Path) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            if "ready in" in log.read_text():
                info = runfile.read(self.path / ".local/state/lanhaven")
                assert info is not None
                return info.url
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{log.read_text()}")


def client(url: str, token: str) -> httpx2.Client:
    """Asks the server with this key."""
    return httpx2.Client(base_url=url, headers={"X-API-Key": token}, timeout=PATIENCE, trust_env=False)


@contextmanager
def somebody_at(url: str, token: str) -> Iterator[None]:
    """Somebody loads a model, asks and fails, again and again, so that there is something to watch."""
    over = threading.Event()

    def busy() -> None:
        ask = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        with client(url, token) as http:
            while not over.is_set():
                http.post("/v1/chat/completions", json=ask)
                http.post("/v1/chat/completions", json=ask | {"model": "nobody"})
                http.post("/admin/models/load", json={"modelKey": "minilm", "activate": False})
                http.post("/admin/models/unload", json={"modelKey": "minilm"})
                over.wait(0.1)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
