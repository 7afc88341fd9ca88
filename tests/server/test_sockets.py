"""Where the server listens, and what it says when it cannot."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import running, serve, with_spare_ports
from lanhaven.server.shutdown import Shutdown
from lanhaven.server.sockets import Address, IfTaken, ListenError, bind, bound_address
from tests.server.apps import BODY, Recorder
from tests.server.raw import ask, get

pytestmark = pytest.mark.anyio

QUICK = ListenerLimits(linger=0.2)


async def test_serve_listens_on_several_addresses_and_tells_which() -> None:
    shutdown = Shutdown()
    ready: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
    listen = [Address("127.0.0.1", 0), Address("127.0.0.2", 0), *bind(Address("127.0.0.1", 0))]
    serving = asyncio.create_task(serve(Recorder(), listen, QUICK, on_ready=ready.set_result, shutdown=shutdown))
    bound = await ready
    assert [each.host for each in bound] == ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
    for each in bound:
        assert (await ask(each.url, get())).body == BODY
    shutdown.begin("the test is over")
    await serving


async def test_a_taken_port_moves_is_skipped_or_fails_as_said() -> None:
    (taken,) = bind(Address("127.0.0.1", 0))
    taken.listen()
    address = bound_address(taken)
    with pytest.raises(ListenError, match=f"Port {address.port} on 127.0.0.1 is in use"):
        bind(address)
    assert bind(replace(address, if_taken=IfTaken.SKIP)) == []
    (moved,) = bind(*with_spare_ports([address], 20))
    assert address.port < bound_address(moved).port <= address.port + 20
    with pytest.raises(ListenError, match="the next 3"):
        _all_taken(address.port)
    for sock in (taken, moved):
        sock.close()


def _all_taken(start: int) -> None:
    held = []
    try:
        for port in range(start, start + 4):
            held += bind(Address("127.0.0.1", port, IfTaken.SKIP))
            for sock in held:
                sock.listen()
        bind(Address("127.0.0.1", start, IfTaken.NEXT, spare=3))
    finally:
        for sock in held:
            sock.close()


def test_a_foreign_address_is_explained() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.200 is no address of this machine"):
        bind(Address("192.0.2.200", 0))
    with pytest.raises(ListenError, match=r"nowhere\.invalid"):
        bind(Address("nowhere.invalid", 0))


async def test_ipv6_is_served_and_the_wildcard_serves_ipv4_too() -> None:
    async with running(Recorder(), host="::1") as url:
        assert url.startswith("http://[::1]:")
        assert (await ask(url, get())).body == BODY
    app = Recorder()
    async with running(app, host="::") as url:
        for each in (url, url.replace("[::1]", "127.0.0.1")):
            assert (await ask(each, get())).body == BODY
    assert [scope["client"][0] for scope in app.scopes] == ["::1", "::ffff:127.0.0.1"]
