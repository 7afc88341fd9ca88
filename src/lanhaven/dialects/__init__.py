"""Dialects: the API families that clients speak. Adding one is one file plus one line here."""

from __future__ import annotations

from collections.abc import Callable

from lanhaven.dialects.base import Dialect
from lanhaven.dialects.openai import OpenAIDialect
from lanhaven.gateway import Gateway

FACTORIES: tuple[Callable[[Gateway], Dialect], ...] = (OpenAIDialect,)


def all_dialects(gateway: Gateway) -> tuple[Dialect, ...]:
    """Every dialect, ready to route."""
    return tuple(create(gateway) for create in FACTORIES)
