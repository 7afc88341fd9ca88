"""Whom a client trusts over HTTPS: the system's authorities, a file, or the own authority of this user's server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.client._settings import is_loopback
from lanhaven.errors import InvalidRequest

if TYPE_CHECKING:
    import ssl


def verification(url: str, ca_file: str | None, state: Path | None = None) -> ssl.SSLContext | bool:
    """What an HTTP client of ours verifies by. True: the system's authorities, or those of SSL_CERT_FILE.

    ca_file: whom to trust, and nobody else. Without one the server that this user runs says whom (its note lies in
    `state`): at its own address exactly that, elsewhere beside the system's. InvalidRequest for a file that is none.
    """
    if not url.startswith("https://"):
        return True
    import ssl

    from lanhaven import runfile

    if ca_file is not None:
        return _trusting(ca_file)
    running = runfile.read(state if state is not None else runfile.state_folder())
    if running is None or running.ca is None:
        # httpx2 asks for SSL_CERT_FILE only with trust_env, which is off for this machine; OpenSSL always does.
        return ssl.create_default_context() if is_loopback(url) else True
    if running.url != url:
        context = ssl.create_default_context()
        context.load_verify_locations(running.ca)
        return context
    context = _trusting(running.ca)
    context.check_hostname = False  # somebody's own certificate is for a name, the note has 127.0.0.1
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # and may be the file itself, without its authority
    return context


def _trusting(ca_file: str) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one, too
        reason = error.strerror or "it holds no certificate in PEM"
        raise InvalidRequest(
            f"{ca_file} cannot be used as a list of authorities: {reason}.",
            param="ca_file",
            hint="name the file that GET /ca.crt of the server gives (LANHAVEN_CA)",
            retry=False,
        ) from None
