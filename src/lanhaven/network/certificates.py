"""The certificate that the server shows: signed by an own authority, or somebody's files. Kept current."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lanhaven.errors import GatewayError
from lanhaven.network.pem import Pair

log = logging.getLogger("lanhaven.tls")


class CertificateFault(GatewayError):
    """A certificate, its key or the authority cannot be used. Message and hint say which file, and what to do."""

    code = "certificate_fault"


class Certificate(Protocol):
    """What the listener and the start need of either kind."""

    ca: Path | None  # the authority that clients must be told to trust; None where it is theirs to know

    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        ...

    def refresh(self) -> None:
        """Look whether another certificate is due or there; if something is wrong the old one stays, and it is told."""
        ...


def utc_now() -> datetime:
    """The time that certificates are judged by."""
    return datetime.now(UTC)


class GivenCertificate:
    """Files of somebody's own, read again when they change."""

    ca: Path | None = None

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._stamps = pair.stamps()
        try:
            self._context = pair.context()
        except ValueError as error:
            raise CertificateFault(
                f"tls_cert {pair.certificate} and tls_key {pair.key} cannot be used: {error}.",
                hint="name a certificate and its key, both in PEM and readable by this user; or --tls alone",
            ) from None

    def __repr__(self) -> str:
        return f"GivenCertificate({self._pair.certificate})"

    def context(self) -> ssl.SSLContext:
        """The one read last."""
        return self._context

    def refresh(self) -> None:
        """Read the files again if they changed. A program that renews them writes one after the other: what does not
        fit together is looked at again at the next change."""
        stamps = self._pair.stamps()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._context = self._pair.context()
        except ValueError as error:
            log.warning("the new certificate %s cannot be used, the old one stays: %s", self._pair.certificate, error)
        else:
            log.info("the certificate was read again: %s", self._pair.certificate)


class OwnCertificate:
    """Signed by an authority of our own in `folder`, for whatever `names` says at the time."""

    def __init__(
        self,
        folder: Path,
        machine: str,
        names: Callable[[], Sequence[str]],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._authority = Pair(folder / "ca.crt", folder / "ca.key")
        self._server = Pair(folder / "server.crt", folder / "server.key")
        self._machine = machine
        self._names = names
        self._now = now
        self._issued_for: tuple[str, ...] = ()
        self._next_look = now()
        self.ca: Path | None = self._authority.certificate
        self.left_out: tuple[str, ...] = ()  # names that the authority may not sign for
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._renew()
        self._context = self._server.context()

    def __repr__(self) -> str:
        return f"OwnCertificate({self._authority.certificate} for {', '.join(self._issued_for)})"

    def context(self) -> ssl.SSLContext:
        """With the certificate issued last."""
        return self._context

    def refresh(self) -> None:
        """Issue another one if the names of this machine changed, or the end is near. Cheap when neither is so."""
        if tuple(self._names()) == self._issued_for and self._now() < self._next_look:
            return
        try:
            if self._renew():
                self._context = self._server.context()
        except (GatewayError, ValueError) as error:
            log.warning("no new certificate, the old one stays: %s", error)

    def _renew(self) -> bool:
        """Whether a certificate was issued. CertificateFault, GatewayError."""
        from lanhaven.network import authority

        names, now = tuple(self._names()), self._now()
        self._issued_for, self._next_look = names, now + authority.RENEW_BEFORE / 30
        try:
            authority.ensure(self._authority, self._machine, names, now)
            self.left_out = authority.beyond(self._authority, names)
            if not authority.stale(self._authority, self._server, names, now):
                return False
            authority.issue(self._authority, self._server, self._machine, names, now)
        except (OSError, ValueError) as error:
            raise CertificateFault(
                f"The authority in {self._authority.certificate.parent} cannot be used: {error}.",
                hint=f"remove {self._authority.certificate.name} and {self._authority.key.name} there; "
                "a new one is made at the next start, which devices must trust anew",
            ) from None
        log.info("a certificate was issued for %s", ", ".join(names))
        return True
