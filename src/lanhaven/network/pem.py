"""A certificate and its key, as files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """Both in PEM; the certificate's file may hold the rest of its chain."""

    certificate: Path
    key: Path

    @property
    def exists(self) -> bool:
        return self.certificate.is_file() and self.key.is_file()

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file is replaced or written to; zeros for one that is not there."""
        return tuple(_stamp(path) for path in (self.certificate, self.key))

    def context(self) -> ssl.SSLContext:
        """A server's TLS with this certificate: 1.2 or newer. ValueError with the reason if it cannot be used."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.options |= ssl.OP_NO_RENEGOTIATION  # TLS 1.2 lets clients ask for it at our cost
        made.set_alpn_protocols(["http/1.1"])
        try:
            made.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError as error:
            raise ValueError(_reason(error)) from None
        except OSError as error:
            raise ValueError(f"one of the files cannot be read: {error.strerror}") from None
        return made


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _no_password() -> str:
    """OpenSSL would ask on the terminal, for ever."""
    raise ValueError("the key is protected by a password: write one without, e.g. with openssl pkey")


def _reason(error: ssl.SSLError) -> str:
    match error.reason:
        case "KEY_VALUES_MISMATCH":
            return "the key is not the certificate's"
        case reason:
            return f"they are no certificate and key in PEM ({reason or 'SSL error'})"
