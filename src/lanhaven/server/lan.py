"""How others reach this server: its addresses, its name on the network, its certificate; kept true while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven import __version__
from lanhaven.config import Settings
from lanhaven.network.addresses import Ip, parse
from lanhaven.network.certificates import Certificate, GivenCertificate, OwnCertificate
from lanhaven.network.links import Link, links, reachable, source_address
from lanhaven.network.names import candidates, machine_names
from lanhaven.network.pem import Pair
from lanhaven.server.sockets import Address

if TYPE_CHECKING:
    from lanhaven.network.mdns import Announcement

log = logging.getLogger("lanhaven.lan")


class Lan:
    """One server's place on its network. `prepare`, then `begin` once sockets are bound, `keep` meanwhile, `end`.

    where: what was bound, the main address first. name: the name that the network was told. problem: why it has none.
    """

    def __init__(self, settings: Settings, own: Callable[[], tuple[Link, ...]] = links) -> None:
        self._settings = settings
        self._own = own
        self._announcement: Announcement | None = None
        self._announced: tuple[Ip, ...] = ()
        self.certificate: Certificate | None = None
        self.where: tuple[Address, ...] = ()
        self.name: str | None = None
        self.problem: str | None = None

    def __repr__(self) -> str:
        return f"Lan({', '.join(self.urls())}{f', {self.name}' if self.name else ''})"

    # ---- what is so

    @property
    def open(self) -> bool:
        """Whether others than this machine can reach the server."""
        return bool(self.addresses())

    @property
    def ca(self) -> Path | None:
        """The own authority's certificate, where there is one."""
        return self.certificate.ca if self.certificate is not None else None

    @property
    def trusted_by_us(self) -> Path | None:
        """What a program of this user is to trust: the authority, or the very certificate."""
        return self.ca or (self._settings.tls_cert if self.certificate is not None else None)

    def addresses(self, *, lan_only: bool = False) -> tuple[Ip, ...]:
        """Where others reach us, as it is now; lan_only: without bridges and tunnels, if that leaves any."""
        own = self._own()
        real = tuple(each for each in own if not each.virtual) if lan_only else own
        hosts = [host for host, _ in self._settings.listeners()]
        return reachable(hosts, real, source_address()) or (reachable(hosts, own, None) if lan_only else ())

    def urls(self) -> tuple[str, ...]:
        """How others reach the main address; how this machine does, if others cannot."""
        if not self.where:
            return ()
        main = self.where[0]
        host = parse(main.host)
        found = self.addresses() if host is not None and host.is_unspecified else ()
        return tuple(replace(main, host=str(each)).url for each in found) or (main.url,)

    @property
    def named_url(self) -> str | None:
        """The address by name."""
        return replace(self.where[0], host=self.name).url if self.name and self.where else None

    def names(self) -> tuple[str, ...]:
        """Every name and address under which this server is asked for: what its certificate is for."""
        settings = self._settings
        mine = (self.name,) if self.name else candidates(settings)[:1]
        listed = ("localhost", *machine_names(), *mine, *settings.allowed_hosts, "127.0.0.1", "::1")
        return tuple(dict.fromkeys((*listed, *(str(each) for each in self.addresses()))))

    # ---- what is done

    def prepare(self) -> None:
        """The certificate, if HTTPS is wanted. CertificateFault, GatewayError."""
        settings = self._settings
        if settings.tls_cert is not None and settings.tls_key is not None:
            self.certificate = GivenCertificate(Pair(settings.tls_cert, settings.tls_key))
        elif settings.tls:
            own = OwnCertificate(settings.config_dir / "tls", (machine_names() or ("this machine",))[0], self.names)
            self.certificate = own
            if own.left_out:
                self.problem = (
                    f"the certificate is not for {', '.join(own.left_out)}, which its authority may not sign for "
                    "(remove ca.crt and ca.key in the folder tls to make another)"
                )

    async def begin(self, where: tuple[Address, ...]) -> None:
        """Sockets are bound. With `lan` claim a name and tell the network, which goes on by itself; never an error."""
        self.where = where
        names = candidates(self._settings)
        if names:
            await self._tell(names)

    async def look(self) -> None:
        """Renew what has become untrue."""
        if self.certificate is not None:
            await asyncio.to_thread(self.certificate.refresh)
        names = candidates(self._settings)
        if names and self.where and self._told() != self._announced:
            log.info("the addresses of this machine changed")
            await self.end()
            await self._tell(names)

    async def end(self) -> None:
        """Take the name back."""
        announcement, self._announcement = self._announcement, None
        if announcement is not None:
            await asyncio.to_thread(announcement.end)

    def _told(self) -> tuple[Ip, ...]:
        """The addresses that the network is told; of a server for this machine alone, its own."""
        found = self.addresses(lan_only=True)
        main = parse(self.where[0].host) if self.where else None
        return found or ((main,) if main is not None and not main.is_unspecified else ())

    async def _tell(self, names: tuple[str, ...]) -> None:
        from lanhaven.network.mdns import Announcement, Service, Unannounced

        main = self.where[0]
        machine = (machine_names() or ("this machine",))[0].partition(".")[0]
        service = Service(machine, main.port, __version__, main.tls)
        self._announcement = announcement = Announcement(service, self._told())
        self._announced = tuple(announcement.addresses)
        try:
            self.name = await asyncio.to_thread(announcement.claim, names)
        except Unannounced as error:
            self.problem = f"this server has no name on the network: {error}"
            log.warning("%s", self.problem)
            return
        if self.certificate is not None:
            await asyncio.to_thread(self.certificate.refresh)
        with suppress(RuntimeError):  # no threads any more: the loop ends
            asyncio.get_running_loop().run_in_executor(None, _publish, announcement)


def _publish(announcement: Announcement) -> None:
    from lanhaven.network.mdns import Unannounced

    try:
        announcement.publish()
    except Unannounced as error:
        log.warning("the network cannot be told of this server: %s", error)
