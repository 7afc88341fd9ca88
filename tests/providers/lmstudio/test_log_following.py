"""The log of an LM Studio on this machine, on the debug stream of the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanhaven.errors import InvalidRequest
from lanhaven.events import GatewayEvent
from lanhaven.lmstudio.log_events import LMStudioLog
from lanhaven.providers.lmstudio.config import read_hosts
from lanhaven.providers.lmstudio.log_files import MONTHS_EVERY
from lanhaven.providers.lmstudio.log_following import Following
from lanhaven.server.debug import event_json
from tests.serving import serving

pytestmark = pytest.mark.anyio
LINE = "[2025-07-19 20:33:33][INFO][LM STUDIO SERVER] Running chat completion on conversation with 9 messages.\n"
FIRST = "2025-07/2025-07-19.1.log"


class Second:
    """The pauses between two looks: a look is had when the test says so."""

    def __init__(self) -> None:
        self._over = asyncio.Semaphore(0)
        self._asked = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        assert seconds == 1.0
        self._asked.release()
        await self._over.acquire()

    async def passes(self) -> None:
        """One; returns when what it brought was told."""
        await self._asked.acquire()
        self._over.release()
        await self._asked.acquire()
        self._asked.release()


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        file.write(text)


@pytest.mark.req("S0-x10")
async def test_what_it_says_is_told_each_second(tmp_path: Path) -> None:
    told: list[GatewayEvent] = []
    second = Second()
    following = Following("pc", tmp_path, told.append, second)
    write(tmp_path, FIRST, LINE)
    following.begin()
    following.begin()
    await second.passes()
    assert told == []
    write(tmp_path, FIRST, LINE)
    await second.passes()
    assert [each.name for each in told] == ["lmstudio_log", "lmstudio_chat_start"]
    await following.aclose()
    await following.aclose()


@pytest.mark.req("S0-x10")
async def test_a_new_month_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanhaven.providers.lmstudio.log_files.MONTHS_EVERY", 0.0)
    assert MONTHS_EVERY == 600.0
    told: list[GatewayEvent] = []
    second = Second()
    following = Following("pc", tmp_path, told.append, second)
    write(tmp_path, FIRST, LINE)
    following.begin()
    await second.passes()
    write(tmp_path, "2025-08/2025-08-01.1.log", LINE)
    await second.passes()
    first = event_json(told[0])
    assert first | {"timestamp": ""} == {"timestamp": "", "host": "pc", "previous": "2025-07", "month": "2025-08"}
    assert [each.name for each in told] == ["lmstudio_month_transition", "lmstudio_log", "lmstudio_chat_start"]
    await following.aclose()


async def test_a_log_that_cannot_be_read_now_is_looked_at_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[GatewayEvent] = []
    second = Second()
    following = Following("pc", tmp_path, told.append, second)
    write(tmp_path, FIRST, "")
    following.begin()
    await second.passes()
    (tmp_path / FIRST).unlink()
    (tmp_path / FIRST).mkdir()
    await second.passes()
    await second.passes()
    assert [each.message for each in caplog.records] == ["log of LM Studio pc: Is a directory"]
    (tmp_path / FIRST).rmdir()
    write(tmp_path, FIRST, LINE)
    await second.passes()
    assert [each.name for each in told] == ["lmstudio_log", "lmstudio_chat_start"]
    await following.aclose()


def test_whose_log_is_followed() -> None:
    here = read_hosts({"base_url": "http://127.0.0.1:1", "follow_log": True}).named(None)
    assert (here.follow_log, here.log_dir) == (True, Path("~/.lmstudio/server-logs").expanduser())
    assert not read_hosts({"base_url": "http://127.0.0.1:1"}).named(None).follow_log
    with pytest.raises(InvalidRequest, match="on another machine") as caught:
        read_hosts({"hosts": {"pc": {"base_url": "http://pc:1", "follow_log": True}}})
    assert "log_dir" in (caught.value.hint or "")
    mounted = {"base_url": "http://pc:1", "follow_log": True, "log_dir": "/mnt/pc"}
    assert read_hosts({"hosts": {"pc": mounted}}).named("pc").log_dir == Path("/mnt/pc")


async def test_the_whole_server_tells_it(tmp_path: Path) -> None:
    """LM Studio itself need not run."""
    logs = tmp_path / "logs"
    write(logs, FIRST, LINE)
    block = {"base_url": "http://127.0.0.1:9", "follow_log": True, "log_dir": str(logs)}
    async with serving(tmp_path, providers={"lmstudio": block}) as house:
        write(logs, "2025-07/2025-07-19.2.log", LINE)  # whichever comes first, this is new
        await house.until(lambda: house.named(LMStudioLog))
        assert house.named(LMStudioLog)[0].host == "lmstudio"
