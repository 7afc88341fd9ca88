"""What the server tells of requests, and what it never tells: log, event stream, metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lanhaven import runfile
from lanhaven.server.logs import LogFile, clean
from tests.cli.scripted import Cli
from tests.cli.test_real_server import MODELS, running, state
from tests.serving import serving

pytestmark = pytest.mark.anyio


@pytest.mark.req("F-175")
def test_a_value_in_the_log_is_one_short_line() -> None:
    fields = {"path": "/x\r\nGET /admin\x1b[2J\x00", "agent": "a" * 10_000_000, "status": 200}
    clean(None, "info", fields)
    assert fields["path"] == "/x\\r\\nGET /admin\\x1b[2J\\x00"
    assert len(str(fields["agent"])) <= 512
    assert fields["status"] == 200


@pytest.mark.req("F-175", "F-186")
@pytest.mark.parametrize(
    "secret", ["sk-lan-0123456789abcdef", "sk-lm-01234567:89abcdef0123456789ab", "Bearer abc.def", "basic YWJjOmRlZg=="]
)
def test_what_looks_like_a_key_is_masked_in_the_log(secret: str) -> None:
    fields = {"said": f"with {secret} in it"}
    clean(None, "info", fields)
    assert fields["said"] == "with [masked] in it"


@pytest.mark.req("F-173")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_log_file_whose_disk_is_full_is_told_once(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    file = LogFile("/dev/full", encoding="utf-8")
    for _ in range(3):
        file.handle(logging.LogRecord("x", logging.WARNING, "", 0, "an entry", (), None))
    with suppress(OSError):
        file.close()
    assert [each.message for each in caplog.records] == ["the log file cannot be written: No space left on device"]
    assert capsys.readouterr().err == ""


@pytest.mark.req("F-187", "F-186")
async def test_the_event_stream_has_no_word_of_what_was_asked_or_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, house.http.stream("GET", "/debug/stream") as told:
        text = ""

        async def read() -> None:
            nonlocal text
            async for piece in told.aiter_text():
                text += piece

        reading = asyncio.create_task(read())
        await house.chat("canary asked", stream=True, user="canary user")
        await house.chat("canary", temperature="canary")
        await house.chat("canary", model="nobody")
        await house.until(lambda: "inference_complete" in text and "event: error" in text)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert "canary" not in text


@pytest.mark.req("F-188")
async def test_the_number_of_series_does_not_grow_with_made_up_names(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:

        async def series() -> int:
            return len((await house.http.get("/metrics")).text.splitlines())

        await house.chat(model="nobody-0")
        await house.http.get("/nowhere-0")
        before = await series()
        for number in range(200):
            await house.chat(model=f"nobody-{number}")
            await house.http.get(f"/nowhere-{number}")
        assert await series() == before


@pytest.mark.req("S1-43", "S1-37")
def test_the_level_debug_tells_when_requests_come_and_how_long_they_take(tmp_path: Path) -> None:
    alone = Cli(tmp_path)
    (tmp_path / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock", LOG_LEVEL="debug"):
        assert alone("chat", "alpha", "canary", "words").out == "canary words\n"
        assert alone("chat", "nobody", "canary").status == 5
        info = runfile.read(state(tmp_path))
        assert info is not None
        assert psutil.Process(info.pid).memory_info().rss < 150 * 2**20, "S1-37: a gateway takes 50 to 100 MB"
    text = (state(tmp_path) / "logs/server.log").read_text()
    lines = {each["event"]: each for each in map(json.loads, text.splitlines()) if "request_id" in each}
    assert lines["request"]["path"] == "/v1/chat/completions"
    answered = lines["answered"]
    assert answered.items() >= {"model": "alpha", "streamed": True}.items()
    assert 0 <= answered["queue_ms"] <= answered["first_byte_ms"] <= answered["total_ms"]
    assert lines["not_answered"]["code"] == "model_not_found"
    assert "canary" not in text


@pytest.mark.req("P22")
def test_the_log_file_is_bounded(tmp_path: Path) -> None:
    program = """
import logging, pathlib, sys, structlog
from lanhaven.server import logs
logs.configure("info", "json", pathlib.Path(sys.argv[1]))
logging.getLogger().handlers[1].maxBytes = 2000
for number in range(1000):
    structlog.get_logger().info("event", number=number)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True)
    assert done.stderr.count(b"\n") == 1000
    files = sorted((tmp_path / "logs").iterdir())
    assert [each.name for each in files] == ["server.log", *(f"server.log.{number}" for number in range(1, 5))]
    assert all(each.stat().st_size <= 2000 for each in files)


@pytest.mark.req("S1-43")
def test_other_levels_do_not(tmp_path: Path) -> None:
    alone = Cli(tmp_path)
    (tmp_path / "models.yaml").write_text(MODELS)
    with running(alone, "--provider", "mock"):
        alone("chat", "alpha", "hello")
    log = state(tmp_path) / "logs/server.log"
    assert '"answered"' not in (log.read_text() if log.exists() else "")
