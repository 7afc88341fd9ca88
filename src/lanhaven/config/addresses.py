"""Addresses in settings: allowlist networks, listeners, Host names, origins.

Pure; refusals are ValueErrors that name the entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def network(entry: str) -> Network:
    """One address or CIDR, strictly: no host bits, no leading zeros, no zone. An IPv4-mapped one becomes IPv4."""
    if not entry or entry != entry.strip():
        raise ValueError(f"{entry!r} is not an address: entries are like 192.168.1.0/24 or 10.0.0.7")
    if "%" in entry:
        raise ValueError(f"{entry!r} has a zone (%...): write the address without it")
    try:
        parsed = ip_network(entry, strict=True)
    except ValueError as error:
        raise ValueError(f"{entry!r} is not a network: {_reason(entry, error)}") from None
    if isinstance(parsed, IPv6Network) and parsed.subnet_of(_MAPPED):
        packed = int(parsed.network_address) & 0xFFFFFFFF
        return IPv4Network((packed, parsed.prefixlen - 96))
    return parsed


def allowlist(entries: Iterable[str]) -> tuple[str, ...]:
    """Networks in their canonical spelling; "*" alone means everybody."""
    listed = tuple(entries)
    if "*" in listed:
        if len(listed) > 1:
            raise ValueError("'*' allows everybody and stands alone: remove it, or the other entries")
        return listed
    return networks(listed)


def networks(entries: Iterable[str]) -> tuple[str, ...]:
    """Networks in their canonical spelling."""
    return tuple(str(network(entry)) for entry in entries)


def listener(text: str) -> tuple[str, int]:
    """("host", port) from "host:port" or "[::1]:port"."""
    name, _, digits = text.rpartition(":")
    if not name or not digits.isascii() or not digits.isdigit() or len(digits) > 5 or int(digits) > 65535:
        raise ValueError(f"{text!r} is not host:port: write 127.0.0.1:11434 or [::1]:11434")
    if ":" in name and not (name.startswith("[") and name.endswith("]")):
        raise ValueError(f"{text!r} needs brackets around the IPv6 address: write [::1]:11434")
    return host(name), int(digits)


def listener_text(name: str, port: int) -> str:
    """The inverse of `listener`."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def host(text: str) -> str:
    """An address or host name to bind, without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address, _, zone = bare.partition("%")
    if ":" in address and "/" not in address:
        network(address)
        return bare
    if zone or not _HOST_NAME.fullmatch(bare):
        raise ValueError(f"{text!r} is not an address or host name: write 127.0.0.1, ::1 or a name, without port")
    if bare.replace(".", "").isdigit():
        network(bare)
    return bare


def host_name(text: str) -> str:
    """A name that may stand in a Host header: lower case, no port, no wildcard."""
    if text == "*":
        raise ValueError("'*' would let any web page reach this server (DNS rebinding): list the names")
    return host(text.rstrip(".")).lower()


def label(text: str) -> str:
    """One part of a name, as mDNS has it: lower case, without .local. 62 signs, so that "-2" still fits."""
    name = text.strip().lower().removesuffix(".local")
    if not _LABEL.fullmatch(name):
        raise ValueError(f"{text!r} is not a name of letters, digits and dashes: write lanhaven")
    return name


def image_host(text: str) -> str:
    """A host that images may come from: a name or address, "*.name" for those below one, "*"; perhaps with a port."""
    name, _, digits = text.rpartition(":") if ":" in text and not text.endswith("]") else (text, "", "")
    if "/" in text or "%" in text or (":" in name and not name.startswith("[")):
        raise ValueError(f"{text!r} is not a host: write images.example.com, *.example.com or nas.lan:8080")
    if name != "*":
        host(name.removeprefix("*."))
    if ":" in text and not text.endswith("]"):
        listener(f"x:{digits}")
    return text.lower()


def origin(text: str) -> str:
    """A browser origin: "https://name[:port]", or "*"."""
    if text == "*":
        return text
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or text.count("/") != 2:
        raise ValueError(f"{text!r} is not an origin: write http://name:port or https://name, without a path, or *")
    return text.lower()


def base_url(text: str) -> str:
    """An http(s) address of a server, without a trailing slash or "/v1"."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not the address of a server: write http://127.0.0.1:1234")
    if parts.username or parts.password:
        raise ValueError("an address must not hold a user name or password: put the key into the provider's api_key")
    _ = parts.port  # ValueError where it is out of range
    return text.strip().rstrip("/").removesuffix("/v1").rstrip("/")


def is_loopback_host(name: str) -> bool:
    """Whether listening on this address or name serves this machine only. What is not plainly loopback is not."""
    try:
        return bool(ip_address(name.partition("%")[0]).is_loopback)
    except ValueError:
        return name.lower() == "localhost"


def _reason(entry: str, error: ValueError) -> str:
    if "host bits" in str(error):
        return f"bits are set beyond the prefix; write {ip_network(entry, strict=False)}"
    return "write it like 192.168.1.0/24, 10.0.0.7 or fd00::/8 (no leading zeros, no ranges, no names)"
