"""The name on the LAN, on the loopback interface: claimed, contested, found, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from lanhaven.network.mdns import Announcement, Found, Service, Unannounced, find

HERE = [ip_address("127.0.0.1")]
NAMES = ("lanhaven-test.local", "lanhaven-test-2.local")


@contextmanager
def announced(machine: str, address: str, names: tuple[str, ...] = NAMES) -> Iterator[Announcement]:
    """On loopback; the address told is another, so that two of them can be told apart."""
    told = Announcement(Service(machine, 8002, "0.1.0", tls=False), HERE)
    told.claim(names)
    told.addresses = [ip_address(address)]
    try:
        told.publish()
        yield told
    finally:
        told.end()


def test_a_server_is_found_its_name_is_its_own_and_it_says_goodbye() -> None:
    with announced("workshop", "192.168.7.1") as first:
        assert first.name == "lanhaven-test.local"
        (found,) = [each for each in find(2.5, ["127.0.0.1"]) if each.host.startswith("lanhaven-test")]
        assert found == Found("LanHaven on workshop", "lanhaven-test.local", ("192.168.7.1",), 8002, "0.1.0", tls=False)
        assert found.urls == ("http://192.168.7.1:8002",)
        second = Announcement(Service("attic", 8002, "0.1.0", tls=False), HERE)
        try:
            assert second.claim(NAMES) == "lanhaven-test-2.local"
            with pytest.raises(Unannounced, match="taken by other machines"):
                second.claim(NAMES[:1])
        finally:
            second.end()
        second.end()
    assert not [each for each in find(0.5, ["127.0.0.1"]) if each.host.startswith("lanhaven-test")]


def test_without_a_network_it_says_so() -> None:
    with pytest.raises(Unannounced):
        Announcement(Service("x", 1, "1", tls=False), [ip_address("192.0.2.77")]).claim(NAMES)


def test_urls_of_both_families() -> None:
    found = Found("x", "x.local", ("fd00::5", "10.0.0.1"), 8002, "", tls=True)
    assert found.urls == ("https://10.0.0.1:8002", "https://[fd00::5]:8002")
