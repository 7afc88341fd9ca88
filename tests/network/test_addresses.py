"""Where a client comes from: addresses in every spelling, allowlists, reverse proxies."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from lanhaven.config import Settings
from lanhaven.network.addresses import (
    Gate,
    Reach,
    embedded,
    networks_of,
    parse,
    parse_hop,
    reach,
)
from lanhaven.network.links import interfaces
from lanhaven.network.names import machine_names
from lanhaven.server.security import SecurityPolicy
from tests.server.doors import KEY, LAN, bearer, door

pytestmark = pytest.mark.anyio


# ---- where from


@pytest.mark.req("S0-73", "S0-84", "F-146")
@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("192.168.1.5", 200),
        ("::ffff:192.168.1.5", 200),
        ("192.168.2.5", 403),
        ("::ffff:192.168.2.5", 403),
        ("fe80::1%eth0", 403),
        ("10.0.0.1", 403),
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("64:ff9b::7f00:1", 403),
        ("2002:7f00:1::", 403),
        ("::127.0.0.1", 403),
        ("", 403),
        ("localhost", 403),
    ],
)
async def test_only_listed_networks_and_this_machine_come_in(tmp_path: Path, client: str, status: int) -> None:
    house = door(tmp_path, SecurityPolicy(allowlist=LAN))
    reply = await house.ask("/v1/models", bearer(KEY), client=client)
    assert reply.status == status
    assert house.security.admits_peer(client) is (status == 200)
    if status == 403:
        assert reply.json == {"error": "Forbidden"}
        assert (await house.ask("/health", client=client)).status == 403


@pytest.mark.req("F-146")
async def test_zones_are_stripped_and_an_empty_list_means_this_machine(tmp_path: Path) -> None:
    link = door(tmp_path, SecurityPolicy(allowlist=(ip_network("fe80::/10"),)))
    assert (await link.ask("/health", client="fe80::1%eth0")).status == 200
    alone = door(tmp_path, SecurityPolicy(allowlist=()))
    assert (await alone.ask("/health", client="192.168.1.5")).status == 403
    assert (await alone.ask("/health")).status == 200
    everybody = door(tmp_path, SecurityPolicy(allowlist=None))
    assert (await everybody.ask("/health", client="203.0.113.9")).status == 200


@pytest.mark.req("F-146")
@pytest.mark.parametrize(
    "entry", ["192.168.1.5/24", "010.0.0.1", "", " ", "fe80::1%eth0", "10.0.0.0/33", "lan", "127.1", "0x7f.0.0.1"]
)
def test_an_entry_that_could_be_misread_keeps_the_server_from_starting(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ValueError, match="ip_allowlist"):
        Settings.model_validate({"config_dir": str(tmp_path), "ip_allowlist": [entry]})


@pytest.mark.req("F-146")
def test_the_policy_of_settings(tmp_path: Path) -> None:
    def policy(**given: object) -> SecurityPolicy:
        return SecurityPolicy.from_settings(Settings.model_validate({"config_dir": str(tmp_path), **given}))

    assert policy().allowlist == ()
    assert policy(ip_allowlist=[]).allowlist == ()
    assert policy(ip_allowlist=["*"]).allowlist is None
    assert policy(ip_allowlist=["0.0.0.0/0"]).allowlist == (ip_network("0.0.0.0/0"),)
    assert policy(ip_allowlist="192.168.0.0/24,10.0.0.0/24").allowlist == (
        ip_network("192.168.0.0/24"),
        ip_network("10.0.0.0/24"),
    )
    assert policy().keyless
    assert policy(host="0.0.0.0", open_to_all=True).keyless
    assert not policy(host="0.0.0.0").keyless
    assert not policy(trusted_proxies=["10.0.0.1"]).keyless
    assert policy(require_auth_for_health=True).health_is_public is False
    assert set(machine_names()) <= set(policy().host_names)
    assert {each.ip for each in interfaces()} == set(policy().own_addresses)


OWN = [
    ip_interface(text)
    for text in (
        "127.0.0.1/8",
        "::1/128",
        "192.168.1.7/24",
        "203.0.113.1/24",
        "8.8.4.4/24",
        "fe80::7/64",
        "2606:4700::7/64",
        "2a00:1450::7/32",
        "fd00::7/64",
    )
]


@pytest.mark.req("F-146")
@pytest.mark.parametrize(
    ("hosts", "networks"),
    [
        (["127.0.0.1"], []),
        (["192.168.1.7"], ["192.168.1.0/24"]),
        (["8.8.4.4"], []),
        (["0.0.0.0"], ["192.168.1.0/24", "203.0.113.0/24", "fe80::/64", "2606:4700::/64", "fd00::/64"]),
        (["::"], ["192.168.1.0/24", "203.0.113.0/24", "fe80::/64", "2606:4700::/64", "fd00::/64"]),
        (["some-name", "fd00::7"], ["fd00::/64"]),
    ],
)
def test_the_default_allowlist_is_the_network_next_door(hosts: list[str], networks: list[str]) -> None:
    assert networks_of(hosts, OWN) == tuple(map(ip_network, networks))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("127.255.0.3", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("64:ff9b::7f00:1", Reach.LOOPBACK),
        ("2002:7f00:1::", Reach.LOOPBACK),
        ("::127.0.0.1", Reach.LOOPBACK),
        ("169.254.169.254", Reach.LINK),
        ("fe80::1%eth0", Reach.LINK),
        ("64:ff9b::a9fe:a9fe", Reach.LINK),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.31.0.1", Reach.PRIVATE),
        ("192.168.1.5", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("fec0::1", Reach.PRIVATE),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("2002:c0a8:105::", Reach.PRIVATE),
        ("100.64.0.1", Reach.SHARED),
        ("100.127.255.255", Reach.SHARED),
        ("100.128.0.0", Reach.GLOBAL),
        ("8.8.8.8", Reach.GLOBAL),
        ("172.32.0.1", Reach.GLOBAL),
        ("2606:4700::1", Reach.GLOBAL),
        ("64:ff9b::808:808", Reach.GLOBAL),
        ("0.0.0.0", Reach.SPECIAL),
        ("0.1.2.3", Reach.SPECIAL),
        ("::", Reach.SPECIAL),
        ("224.0.0.1", Reach.SPECIAL),
        ("255.255.255.255", Reach.SPECIAL),
        ("240.0.0.1", Reach.SPECIAL),
        ("192.0.2.1", Reach.SPECIAL),
        ("198.18.0.1", Reach.SPECIAL),
        ("ff02::1", Reach.SPECIAL),
        ("2001:db8::1", Reach.SPECIAL),
        ("100::1", Reach.SPECIAL),
        ("4000::1", Reach.SPECIAL),
    ],
)
def test_every_spelling_of_an_address_is_classified_as_what_it_means(text: str, kind: Reach) -> None:
    address = parse(text)
    assert address is not None
    assert reach(address) is kind


def test_what_is_no_address_is_none() -> None:
    for text in (
        "",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "010.0.0.1",
        "localhost",
        "1.2.3.4.5",
        "::g",
        " 127.0.0.1",
        "127.0.0.1 ",
    ):
        assert parse(text) is None
    assert embedded(parse("2001:0:808:808:0:0:f7f7:f7f7")) == parse("8.8.8.8")  # type: ignore[arg-type]


def test_the_gate_remembers_a_bounded_number_of_addresses() -> None:
    gate = Gate(LAN)
    for n in range(10_000):
        assert gate.admits(f"10.0.{n // 256}.{n % 256}") is False
    assert gate.admits("192.168.1.9") is True
    assert len(gate._known) <= 4096


# ---- behind a proxy


PROXIED = SecurityPolicy(allowlist=LAN, trusted_proxies=(ip_network("10.0.0.0/24"), ip_network("127.0.0.1/32")))


@pytest.mark.req("F-145")
@pytest.mark.parametrize("peer", ["127.0.0.1", "192.168.1.5"])
async def test_forwarding_headers_of_strangers_are_ignored(tmp_path: Path, peer: str) -> None:
    house = door(tmp_path, SecurityPolicy(allowlist=LAN))
    claims = [
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-For", "5.6.7.8"),
        ("X-Real-IP", "1.2.3.4"),
        ("Forwarded", "for=1.2.3.4"),
    ]
    assert (await house.ask("/health", *claims, client=peer)).status == 200
    assert house.scopes[0]["client"][0] == peer


@pytest.mark.req("F-145")
@pytest.mark.parametrize(
    ("forwarded", "client", "status"),
    [
        (["192.168.1.5"], "192.168.1.5", 200),
        (["127.0.0.1, 192.168.1.5"], "192.168.1.5", 200),
        (["127.0.0.1", "192.168.1.5"], "192.168.1.5", 200),
        (["1.2.3.4, 192.168.1.5, 10.0.0.7"], "192.168.1.5", 200),
        (["192.168.1.5:4711"], "192.168.1.5", 200),
        (["[::ffff:192.168.1.5]:4711"], "192.168.1.5", 200),
        (["192.168.1.5, 1.2.3.4"], None, 403),
        (["192.168.1.5, unknown"], None, 403),
        (["192.168.1.5,"], None, 403),
        (["127.0.0.1, ::1"], "::1", 200),
    ],
)
async def test_a_trusted_proxy_names_the_client(
    tmp_path: Path, forwarded: list[str], client: str | None, status: int
) -> None:
    house = door(tmp_path, PROXIED)
    reply = await house.ask("/health", *[("X-Forwarded-For", each) for each in forwarded], client="10.0.0.2")
    assert reply.status == status
    assert [scope["client"][0] for scope in house.scopes] == ([client] if client else [])


async def test_a_trusted_proxy_may_connect_but_not_ask_for_itself(tmp_path: Path) -> None:
    house = door(tmp_path, PROXIED)
    assert house.security.admits_peer("10.0.0.2")
    assert not house.security.admits_peer("10.0.1.2")
    assert (await house.ask("/health", client="10.0.0.2")).status == 403


def test_hops() -> None:
    assert parse_hop(" [2001:db8::1]:80 ") == parse("2001:db8::1")
    assert parse_hop("2001:db8::1") == parse("2001:db8::1")
    assert parse_hop("1.2.3.4:80") == parse("1.2.3.4")
    assert parse_hop('"1.2.3.4"') is None
