"""Whether others than this machine could come in, and whether they would need a key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lanhaven.config.addresses import is_loopback_host
from lanhaven.errors import GatewayError
from lanhaven.keys.store import KeyStore, weakness

if TYPE_CHECKING:
    from lanhaven.config import Settings

log = logging.getLogger("lanhaven.exposure")


class UnsafeBind(GatewayError):
    """The server would be reachable by others without a strong key. Exit status 78; `hint` is the remedy."""

    code = "unsafe_bind"


def check_bind(settings: Settings, keys: KeyStore) -> None:
    """UnsafeBind if others than this machine could come in without a strong key (F-148); with open_to_all a warning."""
    exposed = exposure(settings)
    if exposed is None:
        return
    given = settings.api_key.get_secret_value() if settings.api_key else None
    weak = weakness(given) if given else None
    if weak is None and keys.required:
        return
    fault = f"the key in api_key (GATEWAY_API_KEY) {weak}" if weak else "there is no key"
    if settings.open_to_all:
        log.warning(
            "OPEN TO ALL: %s, and %s. Everybody who can reach this machine can use and change it.", exposed, fault
        )
        return
    raise UnsafeBind(
        f"Refusing to start: {exposed}, but {fault}.",
        hint="run `lanhaven up --lan`, which makes a key, or `lanhaven keys add NAME` first; "
        "or listen on 127.0.0.1 only; open_to_all serves everybody without a key",
    )


def exposure(settings: Settings) -> str | None:
    """How others than this machine can reach the server; None if they cannot."""
    hosts = [host for host, _ in settings.listeners() if not is_loopback_host(host)]
    if hosts:
        return f"the server would listen on {', '.join(hosts)}"
    return "trusted_proxies lets a proxy bring in others" if settings.trusted_proxies else None
