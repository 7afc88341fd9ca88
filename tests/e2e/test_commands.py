"""Programs that are not ours, behind a real server: a real engine, and one that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.house_process import HouseProcess, running, until

HERE = Path(__file__).parent
LLAMA = str(HERE / "llama_program.py")
PROGRAM = str(HERE.parent / "providers" / "command" / "program.py")
SECRET = "hf_very-secret-value"


def models(model: Path) -> str:
    llama = [sys.executable, "-P", LLAMA, str(model), "${SOCKET}", "${KEY}"]
    small = [sys.executable, "-P", PROGRAM]
    entries = [
        {"id": "real", "provider": "command", "config": {"command": llama, "slots": 2, "context_length": 512}},
        {
            "id": "small",
            "provider": "command",
            "config": {"command": small, "env": {"LISTEN": "${PORT}", "BEHAVE": "forks", "HF_TOKEN": SECRET}},
        },
        {
            "id": "vectors",
            "provider": "command",
            "config": {"command": small, "env": {"LISTEN": "${PORT}"}, "routes": ["embedding"]},
        },
        {"id": "broken", "provider": "command", "config": {"command": "serve ${PORT} ${SECRET}"}},
    ]
    return json.dumps({"max_loaded_models": 1, "models": entries})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[HouseProcess]:
    with running(tmp_path_factory.mktemp("commands"), models(smollm2), LANHAVEN_ENGINE_STOP="0.5") as house:
        yield house


def programs(house: HouseProcess) -> list[psutil.Process]:
    """All processes below the server's."""
    return [each for each in psutil.Process(house.pid).children(recursive=True) if each.status() != "zombie"]


@pytest.mark.req("S1-06", "P6")
def test_a_real_engine_as_a_plain_program(house: HouseProcess) -> None:
    assert house.answer("Why is the sky blue?", model="real", max_tokens=8, temperature=0)
    with house.stream("Count to three.", model="real", max_tokens=8) as stream:
        stream.rest()
        assert stream.text
    assert "listening at" in house.engine_log("real")
    (entry,) = house.loaded().values()
    assert entry["contextLength"] == 512


@pytest.mark.req("F-008", "F-018")
def test_one_makes_room_for_the_other_and_a_crash_starts_it_anew(house: HouseProcess) -> None:
    assert house.answer("hi", model="small") == "small: hi"
    assert set(house.loaded()) == {"small"}
    before = programs(house)
    assert not any(LLAMA in each.cmdline() for each in before)
    reply = house.chat("crash", model="small")
    assert reply.status_code == 502
    assert "the card fell off the bus" in reply.text
    assert house.answer("again", model="small") == "small: again"
    house.unload("small")
    until(lambda: not programs(house), "everything that was started has ended")
    assert SECRET not in house.log + house.engine_log("small")


def test_what_it_cannot_do_is_said(house: HouseProcess) -> None:
    assert house.post("/v1/embeddings", model="vectors", input="a")["data"][0]["embedding"] == [1.0, 0.0]
    assert house.chat("hi", model="vectors").status_code == 400
    reply = house.chat("hi", model="broken")
    assert "${SECRET}, which is unknown" in reply.text


def test_a_request_changes_no_command(house: HouseProcess) -> None:
    for extra in ({"command": ["touch", "/tmp/x"]}, {"env": {"A": "b"}}, {"config": {"command": "x ${PORT}"}}):
        reply = house.http.post("/admin/models/load", json={"modelKey": "small", "loadConfig": extra})
        assert reply.status_code in (400, 422), reply.text


@pytest.mark.req("F-009")
def test_a_killed_server_leaves_nothing(tmp_path: Path, smollm2: Path) -> None:
    with running(tmp_path, models(smollm2)) as house:
        assert house.answer("hi", model="small") == "small: hi"
        started = programs(house)
        assert len(started) >= 3, "what watches it, the program, and its grandchild"
        os.kill(house.pid, signal.SIGKILL)
        house.process.wait()
        until(
            lambda: not any(each.is_running() and each.status() != "zombie" for each in started), "all of them end", 2
        )
