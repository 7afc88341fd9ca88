"""Dialects: the API families that clients speak. Adding one is one file plus one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lanhaven.dialects.anthropic import AnthropicDialect
from lanhaven.dialects.base import Dialect, DialectContext
from lanhaven.dialects.jobs import JobsDialect
from lanhaven.dialects.lmstudio import LMStudioDialect
from lanhaven.dialects.lmstudio_v0 import LMStudioV0
from lanhaven.dialects.lmstudio_ws import Handler as SocketHandler
from lanhaven.dialects.lmstudio_ws import sockets as lmstudio_sockets
from lanhaven.dialects.ollama import OllamaDialect
from lanhaven.dialects.openai import OpenAIDialect
from lanhaven.dialects.responses import ResponsesDialect

FACTORIES: tuple[Callable[[DialectContext], Dialect], ...] = (
    OpenAIDialect.create,
    ResponsesDialect.create,
    AnthropicDialect.create,
    OllamaDialect.create,
    JobsDialect.create,
    LMStudioDialect.create,
    LMStudioV0.create,
)

# WebSockets: path -> who serves it. They ask for the key themselves, by the scope's "lanhaven.admit".
SOCKETS: tuple[Callable[[DialectContext], Mapping[str, SocketHandler]], ...] = (lmstudio_sockets,)


def all_sockets(context: DialectContext) -> Mapping[str, SocketHandler]:
    """Every WebSocket, ready to route."""
    return {path: serve for create in SOCKETS for path, serve in create(context).items()}


def all_dialects(context: DialectContext) -> tuple[Dialect, ...]:
    """Every dialect, ready to route."""
    return tuple(create(context) for create in FACTORIES)
