"""Keys on real sockets while much goes on: rotation under streams, guessing, addresses, odd ways to send a key."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.keys.key import KeyScope
from lanhaven.keys.store import FILE_NAME, KeyStore
from lanhaven.server.attempts import WrongKeys
from tests.server.raw import ask, connected, get
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "a-key-that-is-long-enough"
STREAMS = 100
MODELS = f"""\
default_model: alpha
models:
  - {{id: alpha, provider: mock, enabled: true, config: {{slots: {STREAMS}}}}}
"""


@asynccontextmanager
async def from_address(house: House, address: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with this address on loopback."""
    transport = httpx2.AsyncHTTPTransport(local_address=address)
    async with httpx2.AsyncClient(base_url=house.url, transport=transport, timeout=30) as http:
        yield http


@pytest.mark.req("F-154")
async def test_a_hundred_streams_outlive_the_rotation_of_their_key(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    others = KeyStore(tmp_path / "config" / FILE_NAME)  # `lanhaven keys`, in another process
    old = others.add("app", {KeyScope.INFERENCE})
    count = {"answer": "count", "tokens": 40, "interval": 0.05}
    body = {"messages": [{"role": "user", "content": "count"}], "stream": True, "mock": count}
    async with serving(tmp_path, MODELS, key=KEY) as house, AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=house.url, limits=httpx2.Limits(max_connections=STREAMS + 10), timeout=30)
        )
        readers = []
        for _ in range(STREAMS):
            call = http.stream("POST", "/v1/chat/completions", json=body, headers={"X-API-Key": old})
            reply = await stack.enter_async_context(call)
            assert reply.status_code == 200
            readers.append(reply.aiter_text())

        new = others.rotate("app")
        async with asyncio.timeout(60):  # it takes a second at most, by the clock that test_store.py turns
            while (await http.get("/v1/models", headers={"X-API-Key": old})).status_code != 401:
                pass
        assert (await http.get("/v1/models", headers={"X-API-Key": new})).status_code == 200
        assert house.services.gateway.inflight > 0

        async def rest(reader: AsyncIterator[str]) -> str:
            return "".join([text async for text in reader])

        texts = await asyncio.gather(*map(rest, readers))
        assert all("tok39" in text and text.rstrip().endswith("data: [DONE]") for text in texts)
        used = (await house.http.get("/admin/keys")).json()["keys"][-1]["used"]
        assert used["requestsPerMinute"] == STREAMS


@pytest.mark.req("F-154")
async def test_streams_outlive_the_end_of_their_key(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, key=KEY) as house:
        secret = (await house.http.post("/admin/keys", json={"name": "app"})).json()["key"]
        count = {"answer": "count", "tokens": 20, "interval": 0.01}
        body = {"messages": [{"role": "user", "content": "count"}], "stream": True, "mock": count}
        headers = {"X-API-Key": secret}
        async with house.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as reply:
            assert (await house.http.delete("/admin/keys/app")).status_code == 204
            assert (await house.http.get("/v1/models", headers=headers)).status_code == 401  # at once
            text = "".join([part async for part in reply.aiter_text()])
        assert "tok19" in text


@pytest.mark.req("F-155")
async def test_guessing_on_the_wire_stops_the_guesser_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, key=KEY) as house:
        async with connected(house.url) as raw:
            statuses = []
            for number in range(400):
                await raw.send(get("/v1/models", f"X-API-Key: guess-{number}"))
                reply = await raw.reply()
                statuses.append(reply.status)
            assert statuses == [401] * 20 + [429] * 380
            assert 1 <= int(reply.headers["retry-after"]) <= 60
        async with from_address(house, "127.0.0.2") as elsewhere:
            assert (await elsewhere.get("/v1/models", headers={"X-API-Key": KEY})).status_code == 200
            signing_in = [
                (
                    await elsewhere.post("/ui/session", json={"key": f"guess-{n}"}, headers={"Origin": house.url})
                ).status_code
                for n in range(22)
            ]
            assert signing_in == [401] * 20 + [429] * 2


@pytest.mark.req("F-155")
def test_ten_thousand_guessers_are_remembered_and_no_more() -> None:
    wrong = WrongKeys(lambda: 0.0)
    for number in range(10_500):
        wrong.wrong(f"10.0.{number // 256}.{number % 256}")
    assert len(wrong) == 10_000


@pytest.mark.req("F-155")
async def test_a_key_that_has_ended_is_no_guess(tmp_path: Path) -> None:
    """A program that goes on with an old key must not lock out the others on its machine."""
    (tmp_path / "config").mkdir()
    path = tmp_path / "config" / FILE_NAME
    store = KeyStore(path, wall=lambda: 1_000_000.0)
    old = store.rotate("app", grace=60) if store.add("app") else ""
    ended = store.rotate("app", grace=60)
    assert ended != old
    async with serving(tmp_path, MODELS) as house:
        for _ in range(30):
            reply = await house.http.get("/v1/models", headers={"X-API-Key": old})
            assert reply.status_code == 401
        assert "has expired" in reply.text
        assert (await house.http.get("/v1/models", headers={"X-API-Key": ended})).status_code == 200


@pytest.mark.req("F-142", "F-143")
async def test_ways_to_send_a_key_on_the_wire(tmp_path: Path) -> None:
    basic = base64.b64encode(f"me:{KEY}".encode()).decode()
    ways = {
        (f"X-API-Key: {KEY}",): 200,
        (f"x-api-key: {KEY}", "Authorization: Bearer not-needed"): 200,
        (f"Authorization: Bearer {KEY}",): 200,
        (f"authorization: bearer {KEY}",): 200,
        (f"Authorization: Basic {basic}",): 200,
        (f"X-API-Key: {KEY}", "X-API-Key: another"): 401,
        (f"Cookie: key={KEY}",): 401,
        ("X-API-Key: ",): 401,
        ("X-API-Key: \xff\xfe",): 401,
        ("X-API-Key: " + "x" * 15_000,): 401,
        (f"X-API-Key: {KEY[:-1]}",): 401,
    }
    async with serving(tmp_path, MODELS, key=KEY) as house:
        for headers, status in ways.items():
            assert (await ask(house.url, get("/v1/models", *headers))).status == status, headers
        assert (await ask(house.url, get(f"/v1/models?key={KEY}"))).status == 401


@pytest.mark.req("F-145", "F-146", "F-147")
async def test_addresses_on_the_wire(tmp_path: Path) -> None:
    """127.0.0.2 is a proxy that is trusted; the others on loopback are not."""
    values: dict[str, Any] = {"trusted_proxies": ("127.0.0.2/32",), "ip_allowlist": ("192.168.1.0/24",)}
    async with serving(tmp_path, MODELS, key=KEY, **values) as house:
        good = {"X-API-Key": KEY}
        for claim in ("10.9.8.7", "192.168.1.5"):
            reply = await house.http.get("/v1/models", headers={"X-Forwarded-For": claim, "X-Real-IP": claim, **good})
            assert reply.status_code == 200  # nobody looks at it
        async with from_address(house, "127.0.0.2") as proxy:
            for claim, status in (("192.168.1.5", 200), ("::ffff:192.168.1.5", 200), ("10.9.8.7", 403), ("*", 403)):
                headers = {"X-Forwarded-For": claim, "Host": "localhost", **good}
                assert (await proxy.get("/v1/models", headers=headers)).status_code == status, claim
