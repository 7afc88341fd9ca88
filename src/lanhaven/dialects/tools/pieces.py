"""What an answer is made of, as readers give it: words, and pieces of calls; and the errors for what is no answer."""

from __future__ import annotations

import secrets

from lanhaven.dialects.chunks import FunctionDelta, ToolCallDelta
from lanhaven.errors import UpstreamError

SHOWN = 1000  # characters of an answer that an error tells

Piece = str | ToolCallDelta


def begun(index: int, name: str) -> ToolCallDelta:
    """The first piece of a call: its id and name, which come once."""
    return ToolCallDelta(index, f"call_{secrets.token_hex(8)}", FunctionDelta(name, ""))


def more(index: int, arguments: str) -> ToolCallDelta:
    """A further piece of a call's arguments."""
    return ToolCallDelta(index, None, FunctionDelta(None, arguments))


def unreadable(text: str, why: str) -> UpstreamError:
    """A call that is none: it is neither passed on as words nor made up."""
    return UpstreamError(f"The model wrote a tool call that cannot be read: {why}.", facts={"answer": text[:SHOWN]})


def missing() -> UpstreamError:
    """A call was required, and none came."""
    return UpstreamError(
        "The model answered without the tool call that tool_choice requires.",
        hint="tool_choice auto, or a model whose engine is LanHaven's own: there the call is certain",
    )


def misnamed(name: str) -> UpstreamError:
    """A call of something that was not offered."""
    return UpstreamError(f"The model called {name[:100]!r}, which is not among the tools that it may call.")
