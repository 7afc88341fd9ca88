"""How a server with a real engine ends: killed, asked to, asked twice, and a second one in its way."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from lanhaven.server.shutdown import HURRY
from tests.e2e.conftest import entry
from tests.house_process import (
    PATIENCE,
    HouseProcess,
    engines_of,
    is_engine,
    running,
    sockets_folder,
    spawn,
    start,
    until,
)

ENDLESS = {"max_tokens": 1900, "ignore_eos": True}
BOUND = 2.0  # seconds within which engines must be gone (F-009)


@contextmanager
def serving(home: Path, smollm2: Path, **settings: str) -> Iterator[HouseProcess]:
    """One chat model with two slots, loaded at the start."""
    models = "default_model: smollm2\nmodels:\n" + entry("smollm2", smollm2, "{contextLength: 2048, slots: 2}")
    with running(home, models, **settings) as house:
        yield house


def left_behind(house: HouseProcess) -> list[str]:
    """What must not outlive a server that went down cleanly."""
    files = [str(path) for path in house.run_dir.rglob("*")]
    return files + [str(path) for path in (house.home / "state" / "server.json",) if path.exists()]


@pytest.mark.req("F-009", "P6")
@pytest.mark.parametrize("doing", ["nothing", "streaming", "loading"])
def test_no_engine_outlives_a_killed_server(tmp_path: Path, smollm2: Path, doing: str) -> None:
    with serving(tmp_path, smollm2) as house, ThreadPoolExecutor(1) as threads:
        engines = house.engines()
        assert len(engines) == 1
        if doing == "streaming":
            with house.stream("Write a story", **ENDLESS) as stream:
                stream.read(3)
                house.process.kill()
                with pytest.raises(httpx2.TransportError):
                    stream.rest()
        if doing == "loading":
            order = threads.submit(
                house.http.post, "/admin/models/load", json={"modelKey": "smollm2", "instanceId": "b"}
            )
            until(lambda: len(engines_of(house.pid)) == 2, "the second engine's process")
            engines = engines_of(house.pid)
            house.process.kill()
            assert isinstance(order.exception(), httpx2.TransportError)
        house.process.kill()
        until(lambda: not {pid for pid in engines if is_engine(pid)}, "the end of all engines", BOUND)
        house.process.wait(PATIENCE)


@pytest.mark.req("F-181", "P11")
def test_asked_to_end_it_lets_streams_finish_and_cleans_up(tmp_path: Path, smollm2: Path) -> None:
    with serving(tmp_path, smollm2) as house, house.events() as events:
        engines = house.engines()
        with house.stream("Write a story", max_tokens=60, ignore_eos=True) as stream:
            stream.read(3)
            house.process.send_signal(signal.SIGTERM)
            events.until("shutdown")
            refused = house.chat("Hello")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "server_shutdown"
            assert int(refused.headers["retry-after"]) >= 1
            assert stream.rest()[-1] == "[DONE]"
        assert house.process.wait(PATIENCE) == 0, house.log
        assert not {pid for pid in engines if is_engine(pid)}
        assert left_behind(house) == []
        assert events.names()[-1] == "shutdown"


@pytest.mark.req("F-181", "P11")
def test_a_stream_that_does_not_end_in_time_is_told_why(tmp_path: Path, smollm2: Path) -> None:
    with serving(tmp_path, smollm2, LANHAVEN_DRAIN_TIMEOUT="0.3") as house:
        with house.stream("Write a story", **ENDLESS) as stream:
            stream.read(3)
            house.process.send_signal(signal.SIGTERM)
            stream.rest()
        assert stream.error["code"] == "server_shutdown"
        assert stream.text
        assert house.process.wait(PATIENCE) == 0, house.log
        assert left_behind(house) == []


@pytest.mark.req("F-181", "F-067")
def test_asked_to_end_while_a_model_loads(tmp_path: Path, smollm2: Path) -> None:
    with serving(tmp_path, smollm2) as house, ThreadPoolExecutor(1) as threads:
        order = threads.submit(house.http.post, "/admin/models/load", json={"modelKey": "smollm2", "instanceId": "b"})
        until(lambda: len(house.engines()) == 2, "the second engine's process")
        engines = house.engines()
        house.process.send_signal(signal.SIGTERM)
        assert order.result().status_code in (200, 503), "loaded in time, or told why not"
        assert house.process.wait(PATIENCE) == 0, house.log
        assert not {pid for pid in engines if is_engine(pid)}
        assert left_behind(house) == []


@pytest.mark.req("F-181")
def test_asked_to_end_while_it_starts(tmp_path: Path, smollm2: Path) -> None:
    models = "default_model: smollm2\nmodels:\n" + entry("smollm2", smollm2, "{contextLength: 8192, slots: 4}")
    with sockets_folder() as run_dir:
        process, run_file = start(tmp_path, models, LANHAVEN_RUN_DIR=str(run_dir))
        try:
            engines = until(lambda: engines_of(process.pid), "the first engine's process")
            process.send_signal(signal.SIGTERM)
            log = tmp_path / "server.log"
            assert process.wait(PATIENCE) == 0, log.read_text()
            assert "Traceback" not in log.read_text()
            assert not {pid for pid in engines if is_engine(pid)}
            assert not run_file.exists()
            assert list(run_dir.iterdir()) == []
        finally:
            process.kill()
            process.wait(PATIENCE)


@pytest.mark.req("F-182")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_asked_twice_it_ends_at_once(tmp_path: Path, smollm2: Path, second: signal.Signals) -> None:
    with serving(tmp_path, smollm2) as house, house.events() as events:
        engines = house.engines()
        with house.stream("Write a story", **ENDLESS) as stream:
            stream.read(3)
            house.process.send_signal(signal.SIGTERM)
            events.until("shutdown")
            house.process.send_signal(second)
            ended = threading.Timer(HURRY + 1, os.kill, (house.pid, signal.SIGKILL))
            ended.start()
            stream.rest()
        assert stream.error["code"] == "server_shutdown"
        assert house.process.wait(PATIENCE) == 0, house.log
        ended.cancel()
        assert not {pid for pid in engines if is_engine(pid)}
        assert left_behind(house) == []


@pytest.mark.req("F-072")
def test_a_second_server_on_the_same_port_gives_up_and_the_first_goes_on(tmp_path: Path, smollm2: Path) -> None:
    with serving(tmp_path, smollm2) as house:
        engines, note = house.engines(), (tmp_path / "state" / "server.json").read_bytes()
        port, log = str(urlsplit(house.url).port), house.log
        settings = {"LANHAVEN_RUN_DIR": str(house.run_dir)}
        words = ("up", "--models", str(tmp_path / "models.yaml"))
        for more, expected in ((("--port", port), port), ((), house.url)):
            second, _ = spawn(tmp_path, *words, *more, **settings)
            try:
                assert second.wait(PATIENCE) == 1
            except subprocess.TimeoutExpired:
                second.kill()
                raise
            said = house.log.removeprefix(log)
            assert expected in said
            assert "Traceback" not in said
        assert house.chat("Hello", max_tokens=2).status_code == 200
        assert house.engines() == engines
        assert (tmp_path / "state" / "server.json").read_bytes() == note
        assert {path.name for path in house.run_dir.iterdir()} == {str(house.pid)}


@pytest.mark.req("F-183")
def test_sighup_reads_the_models_again(tmp_path: Path, smollm2: Path) -> None:
    with serving(tmp_path, smollm2) as house:
        engines = house.engines()
        models = (tmp_path / "models.yaml").read_text()
        (tmp_path / "models.yaml").write_text(models + entry("another", smollm2))
        house.process.send_signal(signal.SIGHUP)
        until(lambda: "another" in house.http.get("/v1/models").text, "the new model")
        assert house.chat("Hello", max_tokens=2).status_code == 200
        assert house.engines() == engines
