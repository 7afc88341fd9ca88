"""The server's name on the LAN, and who else serves there: multicast DNS (RFC 6762) and its services (RFC 6763).

zeroconf runs in a thread of its own, with a loop of its own: what a busy network tells each other is no matter of the
loop that serves. So all of this blocks. The import takes 90 ms: only `up --lan` and `discover` import this file.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from zeroconf import (  # type: ignore[attr-defined]  # its list of names leaves AddressResolver out
    AddressResolver,
    Error,
    IPVersion,
    ServiceBrowser,
    ServiceInfo,
    ServiceStateChange,
    Zeroconf,
)

from lanhaven.network.addresses import Ip, parse

TYPE = "_lanhaven._tcp.local."
TYPES = (TYPE, "_http._tcp.local.")
CLAIM_MS = 1500  # who has a name answers within 750 ms (RFC 6762, 8.1), or a second after the last time (6)
ANSWER_MS = 3000
LONGEST = 63  # bytes of a service's name


class Unannounced(Exception):
    """The network cannot be told; the reason is its text."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is told of a server. `machine` makes its entry in lists of services recognisable; no secret is in it."""

    machine: str
    port: int
    version: str
    tls: bool


@dataclass(slots=True)
class Announcement:
    """This server's place on the network from `begin` to `end`."""

    service: Service
    addresses: Sequence[Ip]
    name: str | None = None  # as claimed: lanhaven.local
    _zeroconf: Zeroconf | None = field(default=None, init=False)

    def claim(self, names: Sequence[str]) -> str:
        """Take the first of the names that nobody else has. Unannounced if all are taken, or there is no network."""
        self._zeroconf = zeroconf = _opened(self.addresses)
        try:
            free = next((name for name in names if _owners(zeroconf, name) <= set(self.addresses)), None)
        except (Error, OSError) as error:
            raise Unannounced(str(error) or type(error).__name__) from None
        if free is not None:
            self.name = free
            return free
        raise Unannounced(f"{', '.join(names)} are taken by other machines")

    def publish(self) -> None:
        """Tell the network; returns when it has been told. Nothing before `claim` and after `end`. Unannounced."""
        zeroconf, name = self._zeroconf, self.name
        if zeroconf is None or name is None:
            return
        try:
            for kind in TYPES:
                entry = _entry(kind, self.service, name, self.addresses)
                zeroconf.register_service(entry, allow_name_change=True)
        except (Error, OSError) as error:
            if self._zeroconf is not None:  # else it was ended meanwhile
                raise Unannounced(str(error) or type(error).__name__) from None

    def end(self) -> None:
        """Say goodbye, so that nobody looks for us any more. Idempotent."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            with suppress(Error, OSError, TimeoutError):
                zeroconf.close()  # says goodbye for every entry


@dataclass(frozen=True, slots=True)
class Found:
    """A server that told of itself."""

    name: str
    host: str
    addresses: tuple[str, ...]
    port: int
    version: str
    tls: bool

    @property
    def urls(self) -> tuple[str, ...]:
        """How it is reached, IPv4 first."""
        scheme = "https" if self.tls else "http"
        ordered = sorted(self.addresses, key=lambda address: ":" in address)
        return tuple(f"{scheme}://{f'[{each}]' if ':' in each else each}:{self.port}" for each in ordered)


def find(seconds: float, interfaces: Sequence[str] = ()) -> list[Found]:
    """Those who answer within `seconds`; on these addresses of ours only, if any are said. Unannounced."""
    zeroconf = _opened([address for each in interfaces if (address := parse(each)) is not None])
    names: set[str] = set()

    def seen(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Removed:
            names.add(name)

    try:
        browser = ServiceBrowser(zeroconf, TYPE, handlers=[seen])
        time.sleep(seconds)
        browser.cancel()
        asked = [ServiceInfo(TYPE, name) for name in sorted(names)]
        return [_found(each) for each in asked if each.request(zeroconf, ANSWER_MS)]
    finally:
        zeroconf.close()


def _opened(addresses: Collection[Ip]) -> Zeroconf:
    """On these addresses: those of IPv4 if there are any, for every device speaks that. On all if none are said."""
    usable = [each for each in addresses if _usable(each)]
    four = [str(each) for each in usable if each.version == 4]
    six = [str(each) for each in usable if each.version == 6]
    if addresses and not usable:
        raise Unannounced("there is no network to tell")
    try:
        if usable:
            version = IPVersion.V4Only if four else IPVersion.V6Only
            return Zeroconf(interfaces=four or six, ip_version=version)
        return Zeroconf(ip_version=IPVersion.V4Only)
    except (Error, OSError, RuntimeError) as error:
        raise Unannounced(str(error)) from None


def _usable(address: Ip) -> bool:
    """Whether the address is ours still. zeroconf leaves a socket open when it meets one that is not."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _owners(zeroconf: Zeroconf, name: str) -> set[Ip]:
    """The addresses that the network knows for a name."""
    resolver = AddressResolver(f"{name}.")
    resolver.request(zeroconf, CLAIM_MS)
    return {address for each in resolver.parsed_addresses() if (address := parse(each)) is not None}


def _entry(kind: str, service: Service, name: str, addresses: Sequence[Ip]) -> ServiceInfo:
    label = f"LanHaven on {service.machine}".encode()[:LONGEST].decode("utf-8", "ignore").replace(".", "-")
    return ServiceInfo(
        kind,
        f"{label}.{kind}",
        addresses=[each.packed for each in addresses],
        port=service.port,
        properties={"version": service.version, "path": "/", "tls": "1" if service.tls else "0"},
        server=f"{name}.",
    )


def _found(info: ServiceInfo) -> Found:
    texts = {name: value or "" for name, value in info.decoded_properties.items()}
    return Found(
        name=info.name.removesuffix(f".{TYPE}"),
        host=(info.server or "").rstrip("."),
        addresses=tuple(str(ip_address(each.partition("%")[0])) for each in info.parsed_addresses()),
        port=info.port or 0,
        version=texts.get("version", ""),
        tls=texts.get("tls") == "1",
    )
