"""What `up` says when the server is ready."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.cli import output, units

if TYPE_CHECKING:
    from lanhaven.server import ServerInfo

LOGGED_SECONDS = 600.0


def show(info: ServerInfo, version: str, new_key: str | None) -> None:
    """The banner, on stderr. `new_key` was made in this start and is shown this once."""
    for pieces in lines(info, version, new_key):
        output.banner(pieces)


def lines(info: ServerInfo, version: str, new_key: str | None) -> Iterator[list[tuple[str, str]]]:
    """Line by line, as (text, style) pieces."""
    count = f"{info.models} {'model' if info.models == 1 else 'models'}"
    yield [("lanhaven ", "bold"), (version, "bold"), (f" · {short(info.models_file)} ({count})", "dim")]
    if info.moved_from_port is not None:
        yield [(f"port {info.moved_from_port} is taken by another program: listening on {info.url}", "yellow")]
    yield []
    base = info.lan_url or info.url
    yield dashboard(info, base)
    yield _address("OpenAI", f"{base}/v1")
    for number, url in enumerate(info.also):
        yield _address("" if number else "also at", url)
    yield _address("API docs", f"{base}/docs")
    if new_key is not None:
        yield _address("API key", new_key)
        yield [("             for everything, shown this once; for an app: lanhaven keys add NAME", "dim")]
    yield []
    for name, health in info.providers:
        mark, style = ("✓", "green") if health.ok else ("–", "dim")
        yield [(f"  {mark} ", style), (f"{name:11} ", ""), (health.detail, "dim")]
    loaded = f" · {', '.join(info.loaded)} loaded" if info.loaded else ""
    yield [(f"  ready in {units.seconds(info.seconds)}{loaded} · Ctrl-C stops", "")]
    for problem in info.problems:
        yield [(f"  ! {problem}", "yellow")]
    if not info.models:
        yield [("  no model yet. Try  lanhaven get smollm2", "yellow")]


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
