"""The network interfaces of this machine, and the addresses at which others reach it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_interface

from lanhaven.network.addresses import Interface, Ip, Reach, parse, reach

# Bridges of containers and virtual machines, and tunnels: their addresses lead to this machine, but not from the LAN.
_VIRTUAL = re.compile(
    r"(?i)(docker|podman|br-|bridge\d|veth|virbr|vmnet|vboxnet|vethernet|lxc|lxdbr|cni|flannel|cali|tun|tap|utun|wg|"
    r"tailscale|zt|ppp|ipsec|awdl|llw|ifb|dummy)"
)
_WORTH = {Reach.PRIVATE: 0, Reach.SHARED: 1, Reach.GLOBAL: 2}


@dataclass(frozen=True, slots=True)
class Link:
    """One address on one interface. virtual: not on the LAN itself."""

    name: str
    interface: Interface

    @property
    def virtual(self) -> bool:
        return _VIRTUAL.match(self.name) is not None


def links() -> tuple[Link, ...]:
    """Every address of this machine, as it is now."""
    import psutil

    return tuple(
        Link(name, _interface(entry.address.partition("%")[0], entry.netmask))
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family in {socket.AF_INET, socket.AF_INET6} and entry.netmask
    )


def interfaces() -> tuple[Interface, ...]:
    """The addresses of this machine with their prefixes, as they are now."""
    return tuple(each.interface for each in links())


def reachable(hosts: Iterable[str], own: Iterable[Link], source: Ip | None) -> tuple[Ip, ...]:
    """The addresses at which others reach a server that listens on `hosts`, the likeliest first.

    A wildcard stands for all of its family. source: the address that this machine uses towards its network. Public IPv6
    addresses are left out: they change daily, and private ones or names do as well.
    """
    bound = [parse(host) for host in hosts]
    families = {family for address in bound if address is not None for family in _wild(address)}
    found = [each for each in own if each.interface.version in families or each.interface.ip in bound]
    ranked = sorted((each for each in found if _told(each, source)), key=lambda each: _rank(each, source))
    return tuple(dict.fromkeys(each.interface.ip for each in ranked))


def source_address() -> Ip | None:
    """The address that this machine uses towards its network. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("198.51.100.1", 9))  # an address for documentation: routed like any other, never answered
        found = parse(str(probe.getsockname()[0]))
        return None if found is None or found.is_loopback or found.is_unspecified else found
    return None


def _wild(address: Ip) -> tuple[int, ...]:
    """The families that listening on this address covers: on "::" we serve IPv4 as well."""
    if not address.is_unspecified:
        return ()
    return (4,) if address.version == 4 else (4, 6)


def _told(link: Link, source: Ip | None) -> bool:
    kind = reach(link.interface.ip)
    if link.interface.ip == source:
        return True
    return kind in _WORTH and not (kind is Reach.GLOBAL and link.interface.version == 6)


def _rank(link: Link, source: Ip | None) -> tuple[bool, bool, int, int]:
    ip = link.interface.ip
    return ip != source, link.virtual, ip.version, _WORTH.get(reach(ip), 3)


def _interface(address: str, netmask: str) -> Interface:
    if ":" in netmask:
        return ip_interface(f"{address}/{int(IPv6Address(netmask)).bit_count()}")
    return ip_interface(f"{address}/{netmask}")
