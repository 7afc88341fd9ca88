"""Hosts that are LanHavens themselves: what they list may be others' models, even our own."""

from __future__ import annotations

import aiohttp

from lanhaven.providers.hosts.asking import ask

VIA = "via"


def via(hop: str | None) -> tuple[tuple[str, str], ...]:
    """The header by which a LanHaven knows who asks it. hop: what this server calls itself towards others."""
    return ((VIA, f"1.1 {hop}"),) if hop else ()


async def is_lanhaven(http: aiohttp.ClientSession, base_url: str, *, seconds: float, connect: float) -> bool:
    """Whether it is one: it says so to anybody. Unanswered."""
    answer = await ask(http, "GET", f"{base_url}/lms-status", seconds=seconds, connect=connect)
    return (answer.result or {}).get("package") == "lanhaven"
