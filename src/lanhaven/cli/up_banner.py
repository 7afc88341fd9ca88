"""What `up` says when the server is ready."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lanhaven.cli import output, qr, units
from lanhaven.network.firewall import hint

if TYPE_CHECKING:
    from lanhaven.server import ServerInfo

LOGGED_SECONDS = 600.0
SCANNED_SECONDS = 3600.0
ADDRESSES = 3  # of other networks, in the banner


def show(info: ServerInfo, version: str, new_key: str | None, stops: str = "Ctrl-C") -> None:
    """The banner, on stderr. `new_key` was made in this start and is shown this once. stops: what ends the server."""
    for pieces in lines(info, version, new_key, stops):
        output.banner(pieces)
    if info.lan_urls:
        scan(info)


def lines(
    info: ServerInfo, version: str, new_key: str | None, stops: str = "Ctrl-C"
) -> Iterator[list[tuple[str, str]]]:
    """Line by line, as (text, style) pieces."""
    count = f"{info.models} {'model' if info.models == 1 else 'models'}"
    yield [("lanhaven ", "bold"), (version, "bold"), (f" · {short(info.models_file)} ({count})", "dim")]
    if info.moved_from_port is not None:
        yield [(f"port {info.moved_from_port} is taken by another program: listening on {info.url}", "yellow")]
    yield []
    base = next(iter(info.lan_urls), info.url)
    yield dashboard(info, base)
    yield _address("OpenAI", f"{base}/v1")
    yield _address("Ollama", base)
    yield _address("Anthropic", base)
    for number, url in enumerate(others(info)):
        yield _address("" if number else "also at", url)
    yield _address("API docs", f"{base}/docs")
    if new_key is not None:
        yield _address("API key", new_key)
        yield [("             for everything, shown this once; for an app: lanhaven keys add NAME", "dim")]
    yield from on_the_lan(info)
    yield []
    for name, health in info.providers:
        mark, style = ("✓", "green") if health.ok else ("–", "dim")
        yield [(f"  {mark} ", style), (f"{name:11} ", ""), (health.detail, "dim")]
    loaded = f" · {', '.join(info.loaded)} loaded" if info.loaded else ""
    yield [(f"  ready in {units.seconds(info.seconds)}{loaded} · {stops} stops", "")]
    for problem in info.problems:
        yield [(f"  ! {problem}", "yellow")]
    if not info.models:
        yield [("  no model yet. Try  lanhaven get smollm2", "yellow")]


def others(info: ServerInfo) -> tuple[str, ...]:
    """Further addresses: by name, on other networks, and for this machine."""
    named = (info.named_url,) if info.named_url else ()
    found = (*named, *info.lan_urls[1 : ADDRESSES + 1], *((info.url,) if info.lan_urls else ()), *info.also)
    return tuple(dict.fromkeys(found))


def on_the_lan(info: ServerInfo) -> Iterator[list[tuple[str, str]]]:
    """What others need besides the address: trust, and a way through the firewall."""
    base = next(iter(info.lan_urls), info.url)
    if info.ca is not None:
        yield [*_address("Trust", f"{base}/ca.crt"), ("   (once on each device: docs/lan.md#trust)", "dim")]
    port = urlsplit(base).port
    command = hint(port) if info.lan_urls and port is not None else None
    if command is not None:
        yield [("  Firewall   ", "dim"), (command, ""), ("   (if others cannot connect)", "dim")]


def scan(info: ServerInfo) -> None:
    """The dashboard for a phone, signed in with a link of its own: on a terminal that is wide enough."""
    if not sys.stderr.isatty():
        return
    base = info.lan_urls[0]
    code = list(
        qr.rows(base if info.keyless else info.link(base, SCANNED_SECONDS), shutil.get_terminal_size().columns - 2)
    )
    for row in code:
        output.banner([(f"  {row}", "")])
    if code:
        output.banner([("  scan: the dashboard on a phone in this network, within an hour, once", "dim")])


def dashboard(info: ServerInfo, base: str) -> list[tuple[str, str]]:
    """The page's address. On a terminal the link waits until somebody uses it; in a log, where it may be read for
    years, ten minutes."""
    if info.keyless:
        return _address("Dashboard", f"{base}/")
    link = info.link(base, None if sys.stderr.isatty() else LOGGED_SECONDS)
    return [*_address("Dashboard", link), ("   (works once; another: lanhaven open)", "dim")]


def _address(name: str, url: str) -> list[tuple[str, str]]:
    return [(f"  {name:10} ", "dim"), (url, "cyan")]


def short(path: Path) -> str:
    """With ~ for the home folder."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
