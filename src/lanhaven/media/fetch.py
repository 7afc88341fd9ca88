"""Brings an image from an address, without becoming somebody's door to the inside (F-162 to F-164).

The host must be listed, and the address that is really connected to must be admitted: it is judged when its socket is
made, so neither another spelling nor a name that changes between check and connection leads elsewhere. Redirects are
not followed, nothing compressed is taken, and one clock and one limit bound it all.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from lanhaven.errors import InvalidRequest

SECONDS = 10.0
USUAL_PORTS = {"http": 80, "https": 443}
LONGEST_URL = 8192
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "lanhaven"}
# The same words for every host that is not listed, address that leads inside, name that means nothing, and server that
# does not answer: who asks learns nothing of the network here.
UNREACHED = "The image cannot be fetched from that address."
HINT = "Images come from hosts in image_hosts only, at public addresses or those in image_networks."

Admits = Callable[[str], bool]
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]+")


class Fetcher:
    """hosts: names, "*.name" for those below one, "*" for any; each perhaps with a port, else 80 and 443 are meant.
    admits: whether an IP address may be connected to."""

    def __init__(
        self,
        hosts: Sequence[str],
        admits: Admits,
        *,
        most_bytes: int,
        seconds: float = SECONDS,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = tuple(host.lower() for host in hosts)
        self._admits = admits
        self._most = most_bytes
        self._seconds = seconds
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str) -> bytes:
        """The bytes of an image. InvalidRequest says why not."""
        target = self._listed(url)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._fetch(target)
        except TimeoutError:
            raise _unreached() from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _unreached() from None

    async def aclose(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    def _listed(self, url: str) -> str:
        """The address as it will be asked for: put together anew, so that two parsers cannot differ about its host."""
        try:
            parts = urlsplit(url) if len(url) <= LONGEST_URL else SplitResult("", "", "", "", "")
            usual = USUAL_PORTS[parts.scheme]
            port = parts.port or usual
            host = (parts.hostname or "").rstrip(".").encode("idna").decode("ascii").lower()
        except (ValueError, KeyError):  # UnicodeError is a ValueError
            raise _unreached() from None
        if "@" in parts.netloc or _HOST.fullmatch(host) is None:
            raise _unreached()
        if not any(_means(entry, host, port, usual=port == usual) for entry in self._hosts):
            raise _unreached()
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path or '/'}{query}"

    async def _fetch(self, target: str) -> bytes:
        session = self._session = self._session or self._new_session()
        async with session.get(target, allow_redirects=False) as reply:
            kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if reply.status != 200:
                raise _failed(f"its server answers with status {reply.status}")
            if reply.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise _failed("its server sends it compressed")
            if not kind.startswith("image/"):
                raise _failed("its server does not call it an image")
            return await self._body(reply)

    async def _body(self, reply: aiohttp.ClientResponse) -> bytes:
        """As much as an image may have, whatever the length says."""
        data = bytearray()
        if (reply.content_length or 0) <= self._most:
            async for chunk in reply.content.iter_any():
                data += chunk
                if len(data) > self._most:
                    break
            else:
                return bytes(data)
        reply.close()
        raise _failed(f"it has more than {self._most} bytes")

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            ssl=self._tls if self._tls is not None else True,
            force_close=True,
            use_dns_cache=False,
            socket_factory=self._socket,
        )
        return aiohttp.ClientSession(
            connector=connector, headers=HEADERS, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """For the address that is connected to next, and no other."""
        family, kind, protocol, _, where = address
        if not self._admits(str(where[0])):
            raise OSError("this address is not admitted")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def _means(entry: str, host: str, port: int, *, usual: bool) -> bool:
    name, _, said = entry.rpartition(":") if ":" in entry and not entry.endswith("]") else (entry, "", "")
    if said != str(port) if said else not usual:
        return False
    name = name.strip("[]")
    if name.startswith("*."):
        return host.endswith(name[1:])
    return name in ("*", host)


def _unreached() -> InvalidRequest:
    return InvalidRequest(UNREACHED, hint=HINT, retry=False)


def _failed(why: str) -> InvalidRequest:
    return InvalidRequest(f"The image cannot be fetched: {why}.", retry=False)
