"""Which LanHavens a request has come through, so that none sends it on twice (`Via`, RFC 9110 7.6.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from lanhaven.errors import RequestLoop
from lanhaven.types.models import ModelInfo, Upstream

VIA = b"via"
_NAME = VIA.decode()
MOST_HOPS = 16  # that are read: who is on a longer way than this is among the last of them

_HOP = re.compile(r"1\.1 (lanhaven-[0-9a-f]{12})(?=\s*(?:,|$))")


def hops(headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """The LanHavens that a request's headers name, in the order in which it came through them."""
    if VIA not in dict(headers):  # nearly always: without a loop over the headers
        return ()
    said = [value.decode("latin-1") for name, value in headers if name == VIA]
    return tuple(_HOP.findall(", ".join(said))[-MOST_HOPS:])


def tellable(models: Iterable[ModelInfo], headers: Sequence[tuple[bytes, bytes]]) -> list[ModelInfo]:
    """What is told to whoever asks with these headers: another LanHaven hears of no models that others of them have
    told us of, or they would tell each other for ever."""
    ours = not hops(headers)
    return [each for each in models if ours or not each.relayed]


def onward(upstream: Upstream, headers: Sequence[tuple[bytes, bytes]], model_key: str) -> Upstream:
    """The upstream for a request with these headers: it is told of all others that the request has come through.
    RequestLoop if it was here before.

    An engine of ours has no `via` among its headers, and is told nothing. On the hot path.
    """
    for name, own in upstream.headers:
        if name == _NAME:
            came = hops(headers)
            return _told(upstream, came, own, model_key) if came else upstream
    return upstream


def _told(upstream: Upstream, came: tuple[str, ...], own: str, model_key: str) -> Upstream:
    if own.removeprefix("1.1 ") in came:
        raise RequestLoop(
            f"The servers of model {model_key} send requests to each other in a circle.",
            hint=f"correct the address of {model_key} on one of them: it leads back to where the request came from",
            retry=False,
        )
    told = ", ".join([*(f"1.1 {each}" for each in came), own])
    return replace(
        upstream, headers=tuple((name, told if name == _NAME else value) for name, value in upstream.headers)
    )
