"""Programs that are not ours, behind a real server: a real engine, and one that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
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
        {
            "id": "sounds",
            "provider": "command",
            "config": {
                "command": small,
                "env": {"LISTEN": "${PORT}"},
                "model": "there",
                "routes": ["speech", "transcription", "image"],
            },
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


@pytest.mark.req("S1-06", "C9")
def test_sound_and_pictures_are_passed_on(house: HouseProcess) -> None:
    client = openai.OpenAI(base_url=f"{house.url}/v1", api_key="x", max_retries=0)
    spoken = client.audio.speech.create(model="sounds", input="hello", voice="alloy", response_format="mp3").read()
    assert spoken[:2] == b"\xff\xf3"
    assert json.loads(spoken[2:]) == {
        "model": "there", "input": "hello", "voice": "alloy", "response_format": "mp3"
    }  # fmt: skip
    picture = client.images.generate(model="sounds", prompt="a cat", n=1)
    assert picture.data is not None
    assert picture.data[0].revised_prompt == "a cat"
    sound = bytes(range(256)) * 100
    form = {"model": "sounds", "response_format": "srt", "language": "de"}
    for prefix in ("", "/v1"):
        reply = house.http.post(f"{prefix}/audio/transcriptions", data=form, files={"file": ("a.wav", sound)})
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert sound in reply.content
        assert b'name="model"\r\n\r\nthere\r\n' in reply.content
        assert b"sounds" not in reply.content
    assert house.chat("hi", model="sounds").status_code == 400
    assert house.get("/v1/capabilities")["features"]["transcription"] is True


@pytest.mark.req("C9")
def test_what_cannot_be_passed_on_is_refused(house: HouseProcess) -> None:
    post = house.http.post
    assert post("/v1/audio/translations", data={"model": "sounds"}, files={"file": b"x"}).status_code == 501
    assert post("/v1/audio/speech", json={"model": "small", "input": "x"}).status_code == 400, "it is for chats"
    assert post("/v1/audio/speech", json={"model": 3, "input": "x"}).status_code == 400
    assert post("/v1/audio/transcriptions", json={"model": "sounds"}).status_code == 415
    twice = {"model": ["sounds", "sounds"], "x": "y"}
    reply = post("/v1/audio/transcriptions", data=twice, files={"file": b"x"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")
    reply = post("/v1/audio/transcriptions", data={"model": "sounds", "api_base": "http://x"}, files={"file": b"x"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "api_base")
    cut = {"content-type": "multipart/form-data; boundary=b"}
    for body in (b"--b\r\nConte", b"", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'):
        assert post("/v1/audio/transcriptions", content=body, headers=cut).status_code == 400


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
