"""What the body of a batch call asks: its prompts, one chat body each, and how they are to be answered. Pure.

{..., "messages": [...], "processing_mode": "parallel"}     every user message is a prompt
{..., "requests": [{"messages": [...], ...}, ...]}          every request is one, over the fields that all share
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from lanhaven.dialects.openai.fields import check_messages
from lanhaven.errors import InvalidRequest

MAX_PROMPTS = 256
MAX_AT_ONCE = 64
MAX_FIELDS = 256  # that all prompts share: each has them in a body of its own
SYSTEM = ("system", "developer")
# What is ours, and no engine's business.
OWN = ("processing_mode", "return_individual", "include_timing", "batch_size", "requests", "stream", "stream_options")


class Mode(StrEnum):
    """conversation: one, as always. sequential: each prompt alone, one after the other. sequential_with_context: each
    with all that was said before. parallel: each alone, all at once."""

    CONVERSATION = "conversation"
    SEQUENTIAL = "sequential"
    SEQUENTIAL_WITH_CONTEXT = "sequential_with_context"
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One chat body; with context, `messages` is only what it adds to the conversation."""

    index: int
    body: dict[str, Any]
    custom_id: str | None = None

    @property
    def model(self) -> str | None:
        name = self.body.get("model")
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """at_once: so many at most, as the client wishes. individual: each answer by itself, else their texts as one."""

    mode: Mode
    prompts: tuple[Prompt, ...]
    individual: bool
    timing: bool
    stream: bool
    at_once: int


def read_plan(body: dict[str, Any]) -> Plan:
    """InvalidRequest names the field that cannot be served. What one prompt alone has wrong is told in its result."""
    requests = body.get("requests")
    if requests is not None and body.get("messages") is not None:
        raise _wrong("requests", "and messages exclude each other")
    mode = _mode(body.get("processing_mode"))
    stream, individual = _flag(body, "stream", False), _flag(body, "return_individual", True)
    if stream and not individual:
        raise _wrong("return_individual", "must be true for a stream: it tells each answer by itself")
    shared = {name: value for name, value in body.items() if name not in OWN}
    if len(shared) > MAX_FIELDS:
        raise InvalidRequest(f"The body may have at most {MAX_FIELDS} fields.", retry=False)
    found = _of_messages(shared, mode) if requests is None else _of_requests(requests, shared, mode)
    prompts = tuple(islice(found, MAX_PROMPTS + 1))
    if not 0 < len(prompts) <= MAX_PROMPTS:
        raise _wrong(
            "messages" if requests is None else "requests",
            f"must hold 1 to {MAX_PROMPTS} prompts",
            hint="POST /v1/batches takes more, in a file",
        )
    return Plan(mode, prompts, individual, _flag(body, "include_timing", False), stream, _at_once(body))


def is_batch(body: dict[str, Any]) -> bool:
    """Whether a plain chat body asks for more than one conversation."""
    return _mode(body.get("processing_mode"), Mode.CONVERSATION) is not Mode.CONVERSATION


def _of_messages(shared: dict[str, Any], mode: Mode) -> Iterator[Prompt]:
    check_messages(shared)
    if mode is Mode.CONVERSATION:
        yield Prompt(0, shared)
        return
    system: list[Any] = []  # holds for the prompts behind it, until another comes
    begun: list[Any] = []  # what the next prompt adds to a conversation
    index, fresh = 0, True
    for at, message in enumerate(shared["messages"]):
        if message["role"] in SYSTEM:
            system = [message] if fresh else [*system, message]
            begun.append(message)
            fresh = False
        elif message["role"] == "user":
            adds = begun if mode is Mode.SEQUENTIAL_WITH_CONTEXT else system
            yield Prompt(index, {**shared, "messages": [*adds, message]})
            index, fresh, begun = index + 1, True, []
        else:
            raise _wrong(
                f"messages[{at}].role",
                f"must be user, system or developer where processing_mode is {mode}",
                hint="conversations of their own go into requests",
            )


def _of_requests(requests: Any, shared: dict[str, Any], mode: Mode) -> Iterator[Prompt]:
    if mode not in (Mode.PARALLEL, Mode.SEQUENTIAL):
        raise _wrong("processing_mode", "must be parallel or sequential for requests: each has its own conversation")
    if not isinstance(requests, list):
        raise _wrong("requests", "must be a list of objects")
    for index, request in enumerate(requests):
        if not isinstance(request, dict):
            raise _wrong(f"requests[{index}]", "must be an object")
        custom_id = request.get("custom_id")
        if custom_id is not None and not isinstance(custom_id, str):
            raise _wrong(f"requests[{index}].custom_id", "must be a string")
        if request.get("stream") is True:
            raise _wrong(f"requests[{index}].stream", "is the whole call's: set it beside requests")
        own = {name: value for name, value in request.items() if name not in (*OWN, "custom_id")}
        yield Prompt(index, {**shared, **own}, custom_id)


def _mode(value: Any, default: Mode = Mode.PARALLEL) -> Mode:
    if value is None:
        return default
    if value not in list(Mode):
        raise _wrong("processing_mode", f"must be {', '.join(Mode)}")
    return Mode(value)


def _flag(body: dict[str, Any], name: str, default: bool) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "must be true or false")
    return default if value is None else value


def _at_once(body: dict[str, Any]) -> int:
    value = body.get("batch_size")
    if value is None:
        return MAX_AT_ONCE
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_AT_ONCE:
        raise _wrong("batch_size", f"must be a whole number from 1 to {MAX_AT_ONCE}")
    return value


def _wrong(name: str, what: str, hint: str | None = None) -> InvalidRequest:
    return InvalidRequest(f"{name} {what}.", param=name, hint=hint, retry=False)
