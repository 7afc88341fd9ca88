"""Dialects: the API families that clients speak. Adding one is one file plus one line here."""

from __future__ import annotations

from collections.abc import Callable

from lanhaven.dialects.base import Dialect, DialectContext
from lanhaven.dialects.openai import OpenAIDialect

FACTORIES: tuple[Callable[[DialectContext], Dialect], ...] = (OpenAIDialect.create,)


def all_dialects(context: DialectContext) -> tuple[Dialect, ...]:
    """Every dialect, ready to route."""
    return tuple(create(context) for create in FACTORIES)
