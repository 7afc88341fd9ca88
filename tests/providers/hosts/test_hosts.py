"""What providers share that drive other machines: names, settings, questions, health."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from lanhaven.engines.scripted import Fault, ScriptedServer
from lanhaven.errors import InvalidRequest, ProviderUnavailable
from lanhaven.providers.hosts import asking, reading
from lanhaven.providers.hosts.asking import Answer, Unanswered, ask
from lanhaven.providers.hosts.health import Pulse, health_of, raise_if_all_failed
from lanhaven.providers.hosts.naming import keys_of
from lanhaven.providers.hosts.settings import address, read_named, secret

pytestmark = pytest.mark.anyio
READERS = {"base_url": address, "api_key": secret}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        yield session


@pytest.mark.parametrize(
    ("listed", "keys"),
    [
        ([("a", "m"), ("b", "m"), ("b", "n")], {("a", "m"): "m", ("b", "m"): "b/m", ("b", "n"): "n"}),
        ([("a", "m"), ("a", "m")], {("a", "m"): "m"}),
        ([("a", "m"), ("a", "b/m"), ("b", "m")], {("a", "m"): "m", ("a", "b/m"): "b/m"}),
    ],
)
def test_names_are_one_models_alone(listed: list[tuple[str, str]], keys: dict[tuple[str, str], str]) -> None:
    assert keys_of(listed) == keys


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ([], "hosts"),
        ({"a b": "http://x"}, "hosts"),
        ({"pc": 5}, "hosts.pc"),
        ({"pc": None}, "hosts.pc.base_url"),
        ({"pc": {"api_key": "k"}}, "hosts.pc.base_url"),
        ({"pc": "pc.lan"}, "hosts.pc.base_url"),
        ({"pc": "http://pc:0"}, "hosts.pc.base_url"),
        ({"pc": {"base_url": "http://pc", "api_key": "a b-secret"}}, "hosts.pc.api_key"),
        ({"pc": "http://me:secret@pc/?x"}, "hosts.pc.base_url"),
        ({"pc": {"base_url": "http://pc", "token": "t"}}, "hosts.pc.token"),
    ],
)
def test_what_is_wrong_with_a_host_is_named(said: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_named(said, READERS)
    assert caught.value.param == param
    assert "secret" not in caught.value.message


def test_an_address_can_stand_alone() -> None:
    assert read_named({"pc": "http://pc/v1/", 2: {"base_url": "https://x"}}, READERS) == {
        "pc": {"base_url": "http://pc"},
        "2": {"base_url": "https://x"},
    }
    assert read_named({"pc": None}, READERS, known=("pc",)) == {"pc": {}}


def test_what_is_no_value_is_passed_over() -> None:
    assert list(reading.objects([{"a": 1}, 2, None])) == [{"a": 1}]
    assert list(reading.objects({"a": 1})) == []
    assert reading.mapping([1]) == {}
    assert [reading.text(each) for each in ("ok", " no", "x" * 513, "a\nb", 5)] == ["ok", "", "", "", ""]
    assert [reading.count(each) for each in (5, 2.9, 0, -1, True, 1 << 70, "5")] == [5, 2, None, None, None, None, None]


async def test_an_answer_is_what_it_is(http: aiohttp.ClientSession) -> None:
    async with ScriptedServer() as server:
        url = f"{server.base_url}/v1/models"

        async def asked(fault: Fault | None = None) -> Answer:
            if fault is not None:
                server.script(fault)
            return await ask(http, "GET", url, headers=(("x-a", "b"),), seconds=5, connect=2)

        good = await asked()
        assert good.result is not None
        assert good.result["object"] == "list"
        assert server.requests[0].headers["x-a"] == "b"
        assert await asked(Fault(body="<html>")) == Answer(200, None)
        assert (await asked(Fault(body='{"error": "x"}'))).result is None
        assert (await asked(Fault(status=500, body='{"error": {"a": 1}}'))).error == {"a": 1}
        assert (await asked(Fault(status=302, headers={"location": "http://127.0.0.1:9/"}))).status == 302


async def test_no_answer_says_how(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer() as server:
        server.script(Fault(delay=30), Fault(body="x" * 100))
        with pytest.raises(Unanswered, match="does not answer"):
            await ask(http, "GET", f"{server.base_url}/v1/models", seconds=0.05, connect=2)
        monkeypatch.setattr(asking, "MOST_BYTES", 10)
        with pytest.raises(Unanswered, match="cannot be reached"):
            await ask(http, "GET", f"{server.base_url}/v1/models", seconds=5, connect=2)
    with pytest.raises(Unanswered, match="cannot be reached"):
        await ask(http, "GET", "http://127.0.0.1:9/", seconds=5, connect=2)


def test_one_that_does_well_is_enough() -> None:
    up = Pulse("pc", "http://pc", 3, "1.2", 0.01, note="slowly")
    down = Pulse("mac", "http://mac", 2, error="is not running.")
    told = health_of((up, down))
    assert (told.ok, told.models, told.version, told.address) == (True, 5, "1.2", "http://pc, http://mac")
    assert told.detail == "pc 1.2, 3 models, slowly; mac is not running"
    assert told.down == ("mac",)
    assert not health_of((down,)).ok
    assert health_of(()).detail == "not configured"


def test_failures_count_when_nobody_answers() -> None:
    lost = ProviderUnavailable("x")
    raise_if_all_failed([lost, ()])
    raise_if_all_failed([])
    with pytest.raises(ProviderUnavailable):
        raise_if_all_failed([lost, lost])
    with pytest.raises(ZeroDivisionError):
        raise_if_all_failed([(), ZeroDivisionError()])
