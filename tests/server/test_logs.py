"""The logs as lines: what is in them, what never is, and how they are followed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from lanhaven.server.log_lines import LINES, Line, LineRing, added, plain
from lanhaven.server.logs import configure
from tests.server.test_debug import Reader
from tests.serving import House, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def logging_to(house: House) -> Iterator[LineRing]:
    """The server's log goes where it does in a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("warning", "json")  # httpx2 tells each request at the level info
    root.addHandler(house.services.logs.ring)
    yield house.services.logs.ring
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@asynccontextmanager
async def following(house: House, source: str, lines: int = 0) -> AsyncIterator[Reader]:
    async with house.http.stream("GET", "/debug/logs/stream", params={"source": source, "lines": lines}) as reply:
        assert reply.status_code == 200
        reader = Reader(reply)
        name, told = await reader.next()
        assert name == "connected"
        assert told["lines"] <= lines
        yield reader


async def lines_of(house: House, source: str = "server", **asked: Any) -> list[dict[str, Any]]:
    reply = await house.http.get("/debug/logs", params={"source": source, **asked})
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["lines"]
    return found


async def test_the_servers_log_is_lines_without_secrets_and_escapes(house: House, logging_to: LineRing) -> None:
    log = structlog.get_logger()
    log.warning("odd", model="a\x1b[31mred\x1b[0m", key="Bearer abcdefgh", note="sk-lan-0123456789abcdef")
    logging.getLogger("some.library").error("it says\u202e %s", "so")
    one, two = (await lines_of(house))[-2:]
    assert (one["level"], one["time"][:2]) == ("warning", "20")
    assert one["text"].startswith("odd model=a")
    assert "\x1b" not in one["text"]
    assert "abcdefgh" not in one["text"]
    assert "0123456789" not in one["text"]
    assert (two["level"], two["text"]) == ("error", "it says so")


async def test_a_line_too_long_says_how_much_is_missing() -> None:
    assert plain("x" * 10_000) == "x" * 4_000 + " … and 6000 characters more"


async def test_a_traceback_is_several_lines(house: House, logging_to: LineRing) -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError:
        structlog.get_logger().exception("failed")
    texts = [line["text"] for line in await lines_of(house, lines=20)]
    assert "failed" in texts
    assert texts[-1].endswith("what went wrong")


async def test_the_ring_is_bounded(house: House, logging_to: LineRing) -> None:
    for number in range(LINES + 10):
        structlog.get_logger().warning("line", number=number)
    assert len(logging_to.lines()) == LINES
    assert [line["text"] for line in await lines_of(house, lines=1)] == [f"line number={LINES + 9}"]
    assert await lines_of(house, lines=0) == []


async def test_the_log_of_an_engine(house: House) -> None:
    await house.chat(model="first")
    reply = (await house.http.get("/debug/logs?source=alpha")).json()
    assert reply["sources"] == ["server", "alpha"]
    assert reply["lines"][-1] == {"text": "POST /v1/chat/completions"}
    assert await lines_of(house, "first") == reply["lines"]
    assert await lines_of(house, "gamma") == []
    assert (await house.http.get("/debug/logs?source=nobody")).status_code == 404
    assert (await house.http.get("/debug/logs/stream?source=nobody")).status_code == 404


async def test_a_model_of_a_provider_that_there_is_not_hides_no_log(tmp_path: Path) -> None:
    models = "models:\n  - {id: odd, provider: nonsense}\n  - {id: alpha, provider: mock}\n"
    async with serving(tmp_path, models) as house:
        assert (await house.http.get("/debug/logs")).json()["sources"] == ["server"]
        assert await lines_of(house, "odd") == []


async def test_new_lines_come_live(house: House, logging_to: LineRing) -> None:
    structlog.get_logger().warning("before")
    async with following(house, "server", lines=1) as reader:
        assert (await reader.next())[1]["text"] == "before"
        structlog.get_logger().warning("after", number=1)
        name, line = await reader.next()
        assert (name, line["text"], line["level"]) == ("line", "after number=1", "warning")


async def test_an_engines_new_lines_come_live(house: House) -> None:
    await house.chat(model="beta")
    async with following(house, "beta") as reader:
        await house.chat(model="beta")
        assert (await reader.next()) == ("line", {"text": "POST /v1/chat/completions"})


async def test_followers_are_let_go_at_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as house, following(house, "server") as reader:
        house.services.close_streams()
        async with asyncio.timeout(60):
            assert (await reader.until("shutdown"))["message"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\ufffd[2Kagain", "again"),
        ("\x1b]0;title\x07text", "text"),
        ("a\tb\r\n", "a    b"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # whoever shows it escapes it
        ("key sk-proj-abcdefghijk end", "key [masked] end"),
        ("abc\u202edef\u2066", "abcdef"),
    ],
)
def test_plain(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_what_a_log_has_gained() -> None:
    def log(text: str) -> list[Line]:
        return [Line(sign) for sign in text]

    for before, now, fresh in (
        ("", "abc", "abc"),
        ("abc", "abc", ""),
        ("abc", "abcd", "d"),
        ("abc", "cde", "de"),
        ("abc", "xyz", "xyz"),
        ("abc", "", ""),
        ("aaa", "aaab", "b"),
    ):
        assert list(added(log(before), log(now))) == log(fresh), (before, now)


def test_lines_are_json_without_what_is_not_known() -> None:
    assert json.dumps(Line("x").as_json()) == '{"text": "x"}'


async def test_readers_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanhaven.server.log_lines.READERS", 1)
    async with following(house, "server"):
        reply: httpx2.Response = await house.http.get("/debug/logs/stream")
        assert (reply.status_code, reply.json()["reason"]) == (503, "too_many_subscribers")
