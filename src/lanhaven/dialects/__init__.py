"""Dialects: the API families that clients speak. Adding one is one package plus one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lanhaven.dialects.anthropic.dialect import AnthropicDialect
from lanhaven.dialects.base import Dialect, DialectContext
from lanhaven.dialects.batch.dialect import BatchDialect
from lanhaven.dialects.jobs.dialect import JobsDialect
from lanhaven.dialects.lmstudio.rest.dialect import LMStudioDialect
from lanhaven.dialects.lmstudio.rest.v0 import LMStudioV0
from lanhaven.dialects.lmstudio.ws.sockets import Handler as SocketHandler
from lanhaven.dialects.lmstudio.ws.sockets import sockets as lmstudio_sockets
from lanhaven.dialects.ollama.dialect import OllamaDialect
from lanhaven.dialects.openai.dialect import OpenAIDialect
from lanhaven.dialects.responses.dialect import ResponsesDialect

FACTORIES: tuple[Callable[[DialectContext], Dialect], ...] = (
    OpenAIDialect.create,
    BatchDialect.create,  # behind OpenAI's: it takes chats that ask for a batch, and hands all others on
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
