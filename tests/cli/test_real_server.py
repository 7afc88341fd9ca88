"""The commands against `lanhaven up`, both as the processes that users run. The models are the mock provider's."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven import runfile
from lanhaven.cli import up_banner
from lanhaven.providers.base import Health
from lanhaven.server import ServerInfo
from tests.cli.scripted import Cli
from tests.cli.test_failures import tries
from tests.cli.test_get import put_there

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, aliases: [first]}
  - {id: beta, provider: mock, config: {size_bytes: 1000000, ignores: [gpu_ratio]}}
  - {id: slow, provider: mock, config: {load_seconds: 100}}
  - {id: bad, provider: mock, config: {fail_load: tensor is cut off}}
"""


class Up:
    """A running `lanhaven up`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told = ""

    def until(self, text: str) -> None:
        assert self.process.stderr is not None
        while text not in self.told:
            line = self.process.stderr.readline()
            assert line, f"it ended: {self.told}"
            self.told += line

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        _, rest = self.process.communicate(timeout=30)
        self.told += rest
        return self.process.returncode


@contextmanager
def running(cli: Cli, *words: str, **variables: str) -> Iterator[Up]:
    """Until "ready"; ended with Ctrl-C."""
    process = cli.start("up", "--port", "0", *words, **variables)
    up = Up(process)
    try:
        up.until("ready in")
        yield up
        assert up.stop() == 0, up.told
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def house(alone: Cli) -> Iterator[Cli]:
    """The command line beside a running server that only its run file tells of."""
    (alone.home / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock"):
        yield alone


def state(home: Path) -> Path:
    return home / ".local/state/lanhaven"


def loaded(cli: Cli) -> dict[str, Any]:
    return {each["identifier"]: each for each in cli("ps", "--json").json}


@pytest.mark.req("S4-01", "S4-02")
def test_the_banner_tells_where_it_listens_and_the_file_it_read(alone: Cli) -> None:
    (alone.home / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock", "--log-level", "error") as up:
        info = runfile.read(state(alone.home))
        assert info is not None
        assert info.pid == up.process.pid
        assert "~/models.yaml (4 models)" in up.told
        assert f"{info.url}/v1" in up.told
        assert info.token not in up.told
        assert "✓ mock" in up.told
        assert f"  Dashboard  {info.url}/\n" in up.told
    assert runfile.read(state(alone.home)) is None
    assert not (state(alone.home) / "server.json").exists()


def test_down_stops_it_and_a_second_time_there_is_nothing_to_stop(alone: Cli) -> None:
    (alone.home / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock") as up:
        info = runfile.read(state(alone.home))
        assert info is not None
        done = alone("down", "--json")
        assert done.json == {"url": info.url, "pid": info.pid, "stopped": True}
        assert up.process.wait(30) == 0
    done = alone("down")
    assert (done.status, done.out) == (3, "")
    assert tries(done) == ["lanhaven status"]


@pytest.mark.parametrize(("words", "whole"), [(("down",), True), (("down", "--force"), False)])
def test_down_lets_requests_finish_unless_forced(alone: Cli, words: tuple[str, ...], whole: bool) -> None:
    tokens = 20 if whole else 5000
    config = f"{{answer: count, tokens: {tokens}, interval_ms: 100}}"
    (alone.home / "models.yaml").write_text(f"models:\n  - {{id: long, provider: mock, config: {config}}}\n")
    with running(alone, "--provider", "mock"):
        asks = alone.start("chat", "long", "count")
        assert asks.stdout is not None
        assert asks.stdout.read(4) == "tok0"
        assert alone(*words).status == 0
        rest, _ = asks.communicate(timeout=30)
    assert rest.endswith(f"tok{tokens - 1}\n") is whole


@pytest.mark.req("S0-91", "S0-71")
def test_status_load_chat_unload(house: Cli) -> None:
    assert dict(house("status").rows)["active model"] == "alpha"
    assert [row[0] for row in house("ls").rows] == ["alpha", "beta", "slow", "bad"]
    done = house("load", "beta", "--as", "mine", "--context", "2048", "--gpu", "0.5", "--set", "temperature=0.2")
    assert (done.status, done.out) == (0, "mine\n")
    assert "gpu" in done.err
    assert "ignored" in done.err
    assert loaded(house)["mine"]["contextLength"] == 2048
    assert loaded(house)["mine"]["defaultInference"]["temperature"] == 0.2
    assert house("chat", "mine", "hello", "there").out == "hello there\n"
    assert house("chat", "-p", "to the active one").out == "to the active one\n"
    assert house("chat", "mine", "--json", "whole").json["choices"][0]["message"]["content"] == "whole"
    assert house("activate", "alpha").status == 0
    assert dict(house("status").rows)["active model"] == "alpha"
    assert house("unload", "mine").status == 0
    assert house("unload", "--all").status == 0
    assert loaded(house) == {}


def test_show(house: Cli) -> None:
    shown = house("show", "first", "--json").json
    assert shown["model"]["path"] == "alpha"
    assert shown["estimate"]["fits"] is True
    assert house("show", "alfa").status == 5


def test_statuses(house: Cli) -> None:
    done = house("load", "bad")
    assert done.status == 6
    assert "tensor is cut off" in done.err
    assert tries(done)
    assert house("load", "betta").status == 5
    house("load", "beta", "--as", "x")
    assert house("load", "beta", "--as", "x", "--context", "77").status == 1
    assert house("load", "beta", "--context", "-1").status == 2
    assert house("chat", "nobody", "hello").status == 5


def test_ctrl_c_stops_the_load_on_the_server_too(house: Cli) -> None:
    watch = house.start("watch", "--json", "--type", "connected,start")
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["event"] == "connected"
    load = house.start("load", "slow")
    assert json.loads(watch.stdout.readline())["event"] == "model_load_start"
    load.send_signal(signal.SIGINT)
    _, err = load.communicate(timeout=30)
    assert load.returncode == 130
    assert "stopped" in err
    gone = json.loads(watch.stdout.readline())
    assert (gone["event"], gone["modelKey"], gone["reason"]) == ("model_unload_start", "slow", "abandoned")
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=30)
    assert "slow" not in loaded(house)


def test_a_second_one_is_refused_unless_its_port_is_given(house: Cli) -> None:
    done = house("up", "--provider", "mock")
    assert done.status == 1
    assert "runs already" in done.err
    assert tries(done)[0] == "lanhaven status"
    with running(Cli(house.home), "--provider", "mock"):
        pass


@pytest.mark.req("F-148", "C2")
def test_78_a_door_to_the_network_without_a_key(alone: Cli) -> None:
    done = alone("up", "--provider", "mock", "--host", "0.0.0.0", "--port", "0")
    assert (done.status, done.out) == (78, "")
    assert "Refusing to start" in done.err
    assert any("lanhaven up --lan" in step for step in tries(done))


def test_78_before_a_first_model_is_fetched(alone: Cli) -> None:
    done = alone("up", "--host", "0.0.0.0", "--port", "0")
    assert done.status == 78
    assert "fetching" not in done.err
    assert not (alone.home / ".local/share/lanhaven/models").exists()


@pytest.mark.req("C2", "S0-03", "S0-72")
def test_lan_makes_a_key_shows_it_once_and_wants_it(alone: Cli) -> None:
    (alone.home / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock", "--lan", "--host", "127.0.0.1") as up:
        secret = next(word for word in up.told.split() if word.startswith("sk-lan-"))
        info = runfile.read(state(alone.home))
        assert info is not None
        url = f"{info.url}/admin/models"
        with httpx2.Client(trust_env=False) as http:
            assert http.get(url).status_code == 401
            assert http.get(url, headers={"X-API-Key": secret}).status_code == 200
        assert alone("ls").status == 0, "the run file lets the same user in"
        elsewhere = Cli(alone.home, {"LANHAVEN_STATE_DIR": str(alone.home / "other"), "LANHAVEN_URL": info.url})
        done = elsewhere("ls")
        assert done.status == 4
        assert tries(done)
        assert elsewhere("ls", "--key", secret).status == 0
    assert [row[0] for row in alone("keys", "ls").rows] == ["lan"]
    with running(alone, "--provider", "mock", "--lan", "--host", "127.0.0.1") as up:
        assert "sk-lan-" not in up.told


def test_a_key_made_while_it_runs_works(alone: Cli) -> None:
    (alone.home / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock", "--lan", "--host", "127.0.0.1"):
        info = runfile.read(state(alone.home))
        assert info is not None
        alone("keys", "add", "anna")
        elsewhere = Cli(alone.home, {"LANHAVEN_STATE_DIR": str(alone.home / "other"), "LANHAVEN_URL": info.url})
        secret = alone("keys", "rotate", "anna").out.strip()
        assert elsewhere("chat", "alpha", "hello", "--key", secret).out == "hello\n"
        done = elsewhere("load", "alpha", "--key", secret)
        assert done.status == 4, "a key for an app loads no models"
        assert tries(done)
    anna = alone("keys", "show", "anna", "--json").json  # written down when the server stopped
    assert anna["used"]["requestsPerDay"] == 1
    assert anna["used"]["tokensPerDay"] > 0
    assert anna["lastUsed"] > anna["created"]


def test_a_taken_port_that_was_asked_for_is_a_failure(alone: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = alone("up", "--provider", "mock", "--port", str(taken.getsockname()[1]))
    assert done.status == 1
    assert tries(done)


def test_a_models_file_that_is_not_there(alone: Cli) -> None:
    done = alone("up", "--port", "0", "--models", "nowhere.yaml")
    assert done.status == 5
    assert "nowhere.yaml" in done.err


def test_a_broken_models_file_is_told_with_its_line(alone: Cli) -> None:
    (alone.home / "models.yaml").write_text("models:\n  - {id: a}\n")
    done = alone("up", "--port", "0")
    assert done.status == 2
    assert "models.yaml:2" in done.err
    assert tries(done)


def test_the_first_run_makes_its_files_and_registers_the_packed_model(alone: Cli, smollm2: Path) -> None:
    path = put_there(alone.home, "smollm2")
    path.unlink()
    path.symlink_to(smollm2)
    with running(alone) as up:
        assert "first run" in up.told
        assert "smollm2 loaded" in up.told
        assert alone("chat", "--set", "maxTokens=4", "-p", "Say hello.").status == 0
    text = (alone.home / ".config/lanhaven/models.yaml").read_text()
    assert text.startswith("#")
    assert "default_model: smollm2" in text
    with running(alone) as up:
        assert "first run" not in up.told


def info_with(**fields: Any) -> ServerInfo:
    known: dict[str, Any] = {
        "url": "http://127.0.0.1:8003",
        "models_file": Path("/etc/models.yaml"),
        "models": 1,
        "providers": (("llama_cpp", Health(ok=False, kind="engine", detail="not installed")),),
        "loaded": (),
        "problems": (),
        "seconds": 0.9,
        "moved_from_port": None,
    }
    return ServerInfo(**{**known, **fields})


def banner(info: ServerInfo, key: str | None = None) -> list[str]:
    return ["".join(text for text, _ in pieces) for pieces in up_banner.lines(info, "0.1.0", key)]


def test_a_moved_port_is_said_aloud() -> None:
    expected = "port 8002 is taken by another program: listening on http://127.0.0.1:8003"
    assert expected in banner(info_with(moved_from_port=8002))
    assert not any("taken" in line for line in banner(info_with()))


def test_the_lans_address_is_the_one_to_give_away() -> None:
    lines = banner(info_with(lan_urls=("http://192.168.1.20:8002",)), "sk-lan-x")
    assert "  OpenAI     http://192.168.1.20:8002/v1" in lines
    assert "  API key    sk-lan-x" in lines


def test_problems_and_the_lack_of_models_are_told() -> None:
    lines = banner(info_with(problems=("b could not be loaded: no file",), models=0))
    assert "  ! b could not be loaded: no file" in lines
    assert "  no model yet. Try  lanhaven get smollm2" in lines
    assert "  – llama_cpp   not installed" in lines
