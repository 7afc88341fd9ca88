"""IP addresses of clients: reading, classifying, admitting. The one place that does; pure.

`ipaddress` alone is not enough for decisions (measured): `is_global` is true for 64:ff9b::7f00:1, 2002:7f00:1:: and
::127.0.0.1, which all mean 127.0.0.1 to somebody; 100.64.0.0/10 is neither private nor global; ::ffff:192.168.1.5 is
not in 192.168.1.0/24. So every address is unmapped first, and one that embeds another counts as that other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

REMEMBERED = 4096  # addresses whose admission is cached


class Reach(StrEnum):
    """From where an address can be reached."""

    LOOPBACK = "loopback"  # this machine
    LINK = "link"  # this wire
    PRIVATE = "private"  # this site
    SHARED = "shared"  # the inner network of a carrier or a VPN, 100.64.0.0/10
    GLOBAL = "global"
    SPECIAL = "special"  # unspecified, multicast, reserved, documentation


# IANA special-purpose registries (RFC 6890 and updates), in this order: the first match decides.
_REACHES: tuple[tuple[Reach, tuple[Network, ...]], ...] = tuple(
    (reach, tuple(ip_network(text) for text in texts.split()))
    for reach, texts in (
        (Reach.LOOPBACK, "127.0.0.0/8 ::1/128"),
        (Reach.LINK, "169.254.0.0/16 fe80::/10"),
        (Reach.PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        (Reach.SHARED, "100.64.0.0/10"),
        (
            Reach.SPECIAL,
            (
                "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
                "224.0.0.0/3 2001::/23 2001:db8::/32 3fff::/20"
            ),
        ),
        (Reach.GLOBAL, "0.0.0.0/0 2000::/3"),
        (Reach.SPECIAL, "::/0"),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def parse(text: str) -> Ip | None:
    """The address that `text` spells, without its zone, IPv4-mapped ones unmapped; None if it spells none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_hop(text: str) -> Ip | None:
    """One element of X-Forwarded-For: an address, perhaps in brackets, perhaps with a port."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    return parse(bare)


def embedded(address: Ip) -> Ip:
    """The IPv4 address that an IPv6 one (mapped, NAT64, 6to4, Teredo, compatible) stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def reach(address: Ip) -> Reach:
    """From where `address` can be reached, whatever its spelling."""
    true = embedded(address)
    return next(kind for kind, networks in _REACHES if _within(true, networks))


def networks_of(hosts: Iterable[str], own: Iterable[Interface]) -> tuple[Network, ...]:
    """The networks next to us when we listen on `hosts`: the default allowlist.

    A wildcard host means every interface. Left out: loopback (always admitted), and what is no LAN: public IPv4 subnets
    (a hoster's other customers) and public IPv6 prefixes shorter than /64.
    """
    bound = [parse(host) for host in hosts]
    wild = any(address is not None and address.is_unspecified for address in bound)
    chosen = (each for each in own if wild or each.ip in bound)
    return tuple(dict.fromkeys(each.network for each in chosen if _is_lan(each)))


class Gate:
    """Admits the addresses listed, and loopback unless that is switched off. None as the list admits everybody."""

    def __init__(self, listed: Iterable[Network] | None, *, loopback: bool = True) -> None:
        self._listed = None if listed is None else tuple(listed)
        self._loopback = loopback
        self._known: dict[str, bool] = {}

    def __repr__(self) -> str:
        if self._listed is None:
            return "Gate(everybody)"
        return f"Gate({', '.join([*(['loopback'] if self._loopback else []), *map(str, self._listed)])})"

    def admits(self, text: str) -> bool:
        """Whether this address may come in. What is not an address may not."""
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[text] = self._decide(parse(text))
        return known

    def _decide(self, address: Ip | None) -> bool:
        if address is None:
            return False
        # Loopback by its plain spelling only: 64:ff9b::7f00:1 as a peer is a host behind a NAT64, not this machine.
        return (self._loopback and address.is_loopback) or self._listed is None or _within(address, self._listed)


def _within(address: Ip, networks: Iterable[Network]) -> bool:
    return any(address in each for each in networks if each.version == address.version)


def _is_lan(interface: Interface) -> bool:
    match reach(interface.ip):
        case Reach.LOOPBACK:
            return False
        case Reach.GLOBAL:
            return interface.version == 6 and interface.network.prefixlen >= 64
        case _:
            return True
