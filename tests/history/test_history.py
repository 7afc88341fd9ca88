"""The history in its file: rows, charts, usage, bounds, restarts, and disks that take nothing."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import NotFound
from lanhaven.history import History, HistoryLimits
from lanhaven.history.listing import Asked
from lanhaven.history.series import COUNTS, MEASURES, WINDOWS
from lanhaven.history.tables import DAY, HOUR
from lanhaven.types.chat import Usage
from tests.history.rows import NOON, answered, begun, tell, tell_failed

pytestmark = pytest.mark.anyio


class Clock:
    """Nanoseconds since the epoch, as the test sets them."""

    def __init__(self) -> None:
        self.seconds: float = NOON

    def __call__(self) -> int:
        return round(self.seconds * 10**9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(folder: Path, clock: Clock, **limits: int) -> History:
    return History(folder / "history.sqlite3", HistoryLimits(**limits), lambda: (3, 2, 1 << 30), now=clock)


@pytest.fixture
async def history(tmp_path: Path, clock: Clock) -> AsyncIterator[History]:
    found = opened(tmp_path, clock)
    yield found
    await found.aclose()


async def ids(history: History, **asked: Any) -> list[str]:
    return [row["requestId"] for row in (await history.requests(Asked(**asked)))["requests"]]


async def test_a_row_says_what_is_known_and_leaves_out_the_rest(history: History) -> None:
    known = {"address": "192.168.1.7", "user_agent": "curl/8", "parameters": {"temperature": 0.2, "messages": 3}}
    history.began(begun("r1", NOON - 2, client="laptop", **known))
    history.ended(answered("r1", NOON, seconds=2.0, client="laptop", load_seconds=0.0))
    (row,) = (await history.requests(Asked()))["requests"]
    assert row == {
        "requestId": "r1",
        "timestamp": "2026-11-21T11:59:58.000Z",
        "status": "completed",
        "path": "/v1/chat/completions",
        "dialect": "openai",
        "model": "alpha",
        "instance": "alpha-1",
        "key": "laptop",
        "streamed": True,
        "timeMs": 2000,
        "queueMs": 100,
        "firstTokenMs": 200,
        "promptTokens": 20,
        "completionTokens": 40,
        "tokensPerSecond": 21.7,
        "finishReason": "stop",
        "userAgent": "curl/8",
    }
    details = await history.request("r1")
    assert details == row | {
        "phases": [
            {"name": "queue", "startMs": 0, "ms": 100},
            {"name": "prompt", "startMs": 100, "ms": 100},
            {"name": "generate", "startMs": 200, "ms": 1800},
        ],
        "parameters": {"temperature": 0.2, "messages": 3},
        "address": "192.168.1.7",
    }


async def test_the_wait_for_a_load_is_told_apart_from_the_queue(history: History) -> None:
    tell(history, "r1", NOON, seconds=10.0, queue_seconds=6.0, load_seconds=4.0, first_token_seconds=7.0)
    phases = (await history.request("r1"))["phases"]
    assert [(each["name"], each["startMs"], each["ms"]) for each in phases] == [
        ("queue", 0, 2000),
        ("load", 2000, 4000),
        ("prompt", 6000, 1000),
        ("generate", 7000, 3000),
    ]


async def test_a_request_that_waits_in_vain_has_only_waited(history: History) -> None:
    tell_failed(history, "r1", NOON, seconds=3.0, code="queue_timeout")
    assert (await history.request("r1"))["phases"] == [{"name": "queue", "startMs": 0, "ms": 3000}]


async def test_requests_under_way_come_first(history: History) -> None:
    tell(history, "old", NOON - 5)
    history.began(begun("now", NOON - 1, model=None))
    first, second = (await history.requests(Asked()))["requests"]
    assert (first["requestId"], first["status"], first["model"]) == ("now", "pending", "")
    assert second["requestId"] == "old"
    assert (await history.request("now"))["phases"] == []
    assert await ids(history, status="completed") == ["old"]
    assert await ids(history, status="pending") == ["now"]


async def test_pages_by_the_last_id(history: History) -> None:
    for number in range(7):
        tell(history, f"r{number}", NOON + number)
    page = await history.requests(Asked(limit=3))
    seen = [each["requestId"] for each in page["requests"]]
    while "next" in page:
        page = await history.requests(Asked(limit=3, before=page["next"]))
        seen += [each["requestId"] for each in page["requests"]]
    assert seen == [f"r{number}" for number in range(6, -1, -1)]


async def test_filters(history: History) -> None:
    tell(history, "r1", NOON, client="laptop")
    tell(history, "r2", NOON, model_key="beta")
    tell_failed(history, "r3", NOON, client="laptop", error="No 100% luck_here", model_key="beta")
    tell_failed(history, "r4", NOON, cancelled=True)
    assert await ids(history, model="beta") == ["r3", "r2"]
    assert await ids(history, key="laptop", status="failed") == ["r3"]
    assert await ids(history, status="cancelled") == ["r4"]
    assert await ids(history, q="LUCK_H") == ["r3"]
    assert await ids(history, q="100% l") == ["r3"]
    assert await ids(history, q="k%e") == []


async def test_an_unknown_request_is_not_found(history: History) -> None:
    with pytest.raises(NotFound):
        await history.request("never")


@pytest.mark.parametrize("window", WINDOWS)
async def test_all_columns_of_a_window_are_as_long_as_its_times(history: History, clock: Clock, window: str) -> None:
    empty = await history.series(window)
    times = empty["times"]
    assert 60 <= len(times) <= 180
    assert {second - first for first, second in pairwise(times)} == {empty["step"]}
    assert times[-1] <= clock.seconds < times[-1] + empty["step"]
    assert all(empty[name] == [0] * len(times) for name in COUNTS)
    assert all(empty[name] == [None] * len(times) for name in MEASURES)


@pytest.mark.parametrize("window", WINDOWS)
async def test_the_total_is_the_sum_of_its_parts(history: History, window: str) -> None:
    for number in range(120):
        at = NOON - number * 7
        if number % 5 == 0:
            tell_failed(history, f"f{number}", at, cancelled=number % 2 == 0, model_key="beta")
        else:
            tell(history, f"r{number}", at, client="phone" if number % 3 else None)
    whole = await history.series(window)
    assert (sum(whole["requests"]), sum(whole["errors"]), sum(whole["cancelled"])) == (120, 12, 12)
    assert sum(whole["completionTokens"]) == 96 * 40
    assert sum(whole["promptTokens"]) == 96 * 20
    assert (whole["models"], whole["keys"]) == (["alpha", "beta"], ["phone"])
    parts = [await history.series(window, model=name) for name in ("alpha", "beta")]
    summed = [sum(values) for values in zip(*(part["requests"] for part in parts), strict=True)]
    assert summed == whole["requests"]
    of_phone = await history.series(window, model="alpha", key="phone")
    assert sum(of_phone["requests"]) == sum(number % 5 != 0 and number % 3 != 0 for number in range(120))


async def test_percentiles_of_the_short_window_are_exact(history: History) -> None:
    for number in range(1, 101):
        tell(history, f"r{number}", NOON, first_token_seconds=number / 1000, queue_seconds=number / 500)
    found = await history.series("15m")
    assert (found["firstTokenP50Ms"][-1], found["firstTokenP95Ms"][-1], found["queueP95Ms"][-1]) == (50, 95, 190)
    assert found["requests"][-1] == 100


async def test_percentiles_of_long_windows_are_right_to_a_tenth(history: History, clock: Clock) -> None:
    for number in range(1, 101):
        tell(history, f"r{number}", NOON, first_token_seconds=number / 100)
        await history.write()  # so that histograms are added up
    for window in ("1h", "7d"):
        found = await history.series(window)
        assert found["firstTokenP50Ms"][-1] == pytest.approx(500, rel=0.1)
        assert found["firstTokenP95Ms"][-1] == pytest.approx(950, rel=0.1)
        assert found["queueP95Ms"][-1] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("window", WINDOWS)
async def test_speed_is_of_the_answers_alone(history: History, window: str) -> None:
    tell(history, "r1", NOON, seconds=3.0, first_token_seconds=1.0, usage=Usage(5, 101))
    tell(history, "r2", NOON, seconds=1.5, first_token_seconds=0.5, usage=Usage(5, 51))
    tell(history, "r3", NOON, seconds=9.0, usage=Usage())
    assert (await history.series(window))["tokensPerSecond"][-1] == 50.0


async def test_gauges_are_what_was_measured(history: History) -> None:
    history.sample()
    found = await history.series("15m")
    assert [found[name][-1] for name in ("inflight", "waiting", "memoryBytes")] == [3, 2, 1 << 30]
    assert found["inflight"][-2] is None


async def test_usage_by_key_model_and_day(history: History, clock: Clock) -> None:
    tell(history, "r1", NOON - DAY, client="laptop")
    tell(history, "r2", NOON, client="laptop", model_key="beta", usage=Usage(1, 2))
    tell_failed(history, "r3", NOON - 8 * DAY)
    tell_failed(history, "r4", NOON + 1)
    keys = await history.usage(7, "key")
    assert keys["days"] == 7
    assert [(row["key"], row["requests"], row["errors"]) for row in keys["rows"]] == [("laptop", 2, 0), ("", 1, 1)]
    assert keys["rows"][0]["completionTokens"] == 42
    assert keys["rows"][0]["firstTokenP50Ms"] == pytest.approx(200, rel=0.1)
    assert keys["rows"][0]["lastUsed"] == "2026-11-21T12:00:00.000Z"
    assert "firstTokenP50Ms" not in keys["rows"][1]
    models = await history.usage(7, "model")
    assert {row["model"]: row["requests"] for row in models["rows"]} == {"alpha": 1, "beta": 1, "": 1}
    days = await history.usage(9, "day")
    assert [(row["day"], row["requests"]) for row in days["rows"]] == [
        ("2026-11-21", 2),
        ("2026-11-20", 1),
        ("2026-11-13", 1),
    ]


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock is nine hours before that of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
async def test_days_are_those_of_the_servers_clock(history: History) -> None:
    midnight = NOON - 21 * HOUR  # there
    tell(history, "r1", midnight)
    tell(history, "r2", midnight - 1)
    tell(history, "r3", NOON)
    days = await history.usage(1, "day")
    assert [(row["day"], row["requests"]) for row in days["rows"]] == [("2026-11-21", 2)]
    days = await history.usage(2, "day")
    assert [(row["day"], row["requests"]) for row in days["rows"]] == [("2026-11-21", 2), ("2026-11-20", 1)]


async def test_a_restart_keeps_it(tmp_path: Path, clock: Clock) -> None:
    first = opened(tmp_path, clock)
    first.begin()
    tell(first, "r1", NOON)
    await first.aclose()  # a clean stop loses nothing
    again = opened(tmp_path, clock)
    tell(again, "r2", NOON)
    assert await ids(again) == ["r2", "r1"]
    assert sum((await again.series("7d"))["requests"]) == 2
    await again.aclose()
    assert stat.S_IMODE((tmp_path / "history.sqlite3").stat().st_mode) == 0o600


async def test_what_is_old_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    history = opened(tmp_path, clock, days=2)
    tell(history, "old", NOON - 2 * DAY - 1)
    tell(history, "new", NOON - 2 * DAY + 1)
    await history.write()
    await history.trim()
    assert await ids(history) == ["new"]
    assert sum((await history.series("7d"))["requests"]) == 2  # the hours know both
    clock.seconds += 91 * DAY
    await history.trim()
    assert (await history.usage(90, "day"))["rows"] == []
    await history.aclose()


async def test_fifty_thousand_requests_stay_within_the_file_that_was_allowed(tmp_path: Path, clock: Clock) -> None:
    most = 4 << 20
    history = opened(tmp_path, clock, max_bytes=most)
    for batch in range(10):
        for number in range(5000):
            index = batch * 5000 + number
            tell(history, f"req_{index:032}", NOON - HOUR + index / 14, client=f"key-{index % 5}")
        await history.write()
        await history.trim()
    await history.aclose()
    assert (tmp_path / "history.sqlite3").stat().st_size < 2.5 * most
    again = opened(tmp_path, clock, max_bytes=most)
    assert (await ids(again, limit=1)) == ["req_" + f"{49_999:032}"]
    used = await again.usage(1, "key")
    assert sum(row["requests"] for row in used["rows"]) == 50_000  # roll-ups outlive the rows
    assert sum((await again.series("24h"))["requests"]) == 50_000
    await again.aclose()


async def test_a_file_too_small_for_anything_still_works(tmp_path: Path, clock: Clock) -> None:
    history = opened(tmp_path, clock, max_bytes=1)
    for number in range(50):
        tell(history, f"r{number}", NOON - number * HOUR)
    await history.write()
    await history.trim()
    assert len(await ids(history)) <= 1
    await history.aclose()


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT * FROM requests WHERE id = 'x'", "requests_by_id"),
        ("SELECT count(*) FROM requests WHERE ended >= 1 AND ended < 2", "requests_by_end"),
        ("SELECT * FROM requests WHERE model = 'x' ORDER BY seq DESC LIMIT 9", "requests_by_model"),
        ("SELECT * FROM requests WHERE key = 'x' ORDER BY seq DESC LIMIT 9", "requests_by_key"),
        ("SELECT * FROM rollups WHERE step = 60 AND at >= 1 AND at < 2", "PRIMARY KEY (step=? AND at>? AND at<?)"),
        ("SELECT * FROM gauges WHERE at >= 1", "INTEGER PRIMARY KEY"),
    ],
)
async def test_questions_are_answered_by_an_index(tmp_path: Path, history: History, statement: str, index: str) -> None:
    tell(history, "r1", NOON)
    await history.write()
    with sqlite3.connect(tmp_path / "history.sqlite3") as database:
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}"))
    database.close()
    assert index in plan
    assert "TEMP B-TREE" not in plan


async def test_hostile_texts_and_numbers_are_kept_harmlessly(history: History) -> None:
    history.began(begun("r1", NOON - 1, model="\ud800" + "x" * 1000, user_agent="a\x1b[31m"))
    history.ended(answered("r1", NOON, usage=Usage(10**30, -5), model_key="", finish_reason="\udfff"))
    (row,) = (await history.requests(Asked()))["requests"]
    assert (row["promptTokens"], row["completionTokens"]) == (2**53, 0)
    assert len(row["model"]) == 200


async def test_models_that_are_not_in_the_catalog_stay_out_of_the_charts(history: History) -> None:
    for number in range(20):
        end = {"error": "Model not found", "code": "model_not_found", "seconds": 0.0}
        tell_failed(history, f"r{number}", NOON, **end)
    assert (await history.series("1h"))["models"] == []
    assert [row["model"] for row in (await history.usage(1, "model"))["rows"]] == [""]
