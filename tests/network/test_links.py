"""Which of this machine's addresses others are told."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from lanhaven.config import Settings
from lanhaven.network.links import Link, interfaces, links, reachable, source_address
from lanhaven.network.names import candidates

OWN = tuple(
    Link(name, ip_interface(address))
    for name, address in (
        ("lo", "127.0.0.1/8"),
        ("lo", "::1/128"),
        ("docker0", "172.17.0.1/16"),
        ("wg0", "10.8.0.2/24"),
        ("wlan0", "fd00::5/64"),
        ("wlan0", "fe80::1/64"),
        ("wlan0", "2a02:8108::5/64"),
        ("eth0", "192.168.1.20/24"),
        ("wlan0", "192.168.1.31/24"),
        ("eth0", "169.254.3.4/16"),
        ("vnet9", "203.0.113.9/24"),
    )
)


def told(*hosts: str, source: str | None = None) -> list[str]:
    return [str(each) for each in reachable(hosts, OWN, ip_address(source) if source else None)]


def test_real_networks_come_before_bridges_and_tunnels() -> None:
    assert told("0.0.0.0") == ["192.168.1.20", "192.168.1.31", "172.17.0.1", "10.8.0.2"]


def test_the_address_in_use_comes_first_whatever_it_is() -> None:
    assert told("0.0.0.0", source="192.168.1.31")[:2] == ["192.168.1.31", "192.168.1.20"]
    assert told("0.0.0.0", source="203.0.113.9")[0] == "203.0.113.9"


def test_the_wildcard_of_ipv6_is_that_of_both() -> None:
    assert told("::") == ["192.168.1.20", "192.168.1.31", "fd00::5", "172.17.0.1", "10.8.0.2"]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [(["192.168.1.20"], ["192.168.1.20"]), (["127.0.0.1"], []), (["localhost", "10.8.0.2"], ["10.8.0.2"])],
)
def test_only_what_is_listened_on(hosts: list[str], expected: list[str]) -> None:
    assert told(*hosts) == expected


def test_this_machine_has_addresses() -> None:
    assert ip_address("127.0.0.1") in {each.ip for each in interfaces()}
    assert {"lo", "lo0"} & {each.name for each in links()}
    source = source_address()
    assert source is None or not source.is_loopback


def test_the_names_that_may_be_claimed() -> None:
    names = candidates(Settings(lan=True, mdns_name="models"))
    assert (names[0], names[1], len(names)) == ("models.local", "models-2.local", 9)
    assert candidates(Settings()) == ()
    assert candidates(Settings(lan=True, mdns=False)) == ()
