"""Who may come in: the rules of one server, as values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from lanhaven.keys.exposure import exposure
from lanhaven.network.addresses import Ip, Network, networks_of
from lanhaven.network.links import interfaces
from lanhaven.network.names import candidates, machine_names

if TYPE_CHECKING:
    from lanhaven.config import Settings


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """The defaults are those of a server for this machine alone.

    allowlist: networks that may connect besides loopback; None = everybody.
    host_names, own_addresses: what a Host header may name, besides localhost and the address it came in on.
    keyless: whether a server without any key serves; never true where others can reach it, unless somebody said so.
    public_paths: paths that need no key, besides /health, /livez, /readyz and /favicon.ico.
    guests: networks from which LM Studio's clients may come without a key.
    """

    allowlist: tuple[Network, ...] | None = ()
    trusted_proxies: tuple[Network, ...] = ()
    host_names: tuple[str, ...] = ()
    own_addresses: tuple[Ip, ...] = ()
    cors_origins: tuple[str, ...] = ()
    keyless: bool = True
    health_is_public: bool = True
    public_paths: frozenset[str] = frozenset()
    guests: tuple[Network, ...] = ()
    wrong_keys_per_minute: int = 20

    @classmethod
    def from_settings(cls, settings: Settings) -> SecurityPolicy:
        """The policy of these settings on this machine, as its network is now."""
        own = interfaces()
        return cls(
            allowlist=_allowlist(settings, networks_of((host for host, _ in settings.listeners()), own)),
            trusted_proxies=tuple(ip_network(entry) for entry in settings.trusted_proxies),
            host_names=(*settings.allowed_hosts, *machine_names(), *candidates(settings)),
            own_addresses=tuple(each.ip for each in own),
            cors_origins=settings.cors_origins,
            keyless=settings.open_to_all or exposure(settings) is None,
            guests=tuple(ip_network(entry) for entry in settings.lmstudio_guests),
            health_is_public=not settings.require_auth_for_health,
        )


def _allowlist(settings: Settings, nearby: tuple[Network, ...]) -> tuple[Network, ...] | None:
    if settings.ip_allowlist is None:
        return nearby
    if "*" in settings.ip_allowlist:
        return None
    return tuple(ip_network(entry) for entry in settings.ip_allowlist)
