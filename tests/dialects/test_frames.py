"""A piece of text is sent by filling a frame in; it must be the frame that the event itself would have made."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lanhaven.dialects.anthropic import events as anthropic
from lanhaven.dialects.anthropic.request import read_request as read_messages
from lanhaven.dialects.chunks import read_chunk
from lanhaven.dialects.ollama import replies as ollama
from lanhaven.dialects.ollama.request import read_chat, read_generate
from lanhaven.dialects.responses import events as responses
from lanhaven.dialects.responses.request import read_request as read_responses
from lanhaven.wire import encode

QUESTION = [{"role": "user", "content": "Well?"}]
PIECES = ["Say", ' "so"\n', "\u2028\U0001f600", "é\\"]


def of_anthropic() -> anthropic.Events:
    return anthropic.Events(read_messages({"model": "m", "max_tokens": 9, "messages": QUESTION, "stream": True})[1])


def of_responses() -> responses.Events:
    return responses.Events(read_responses({"model": "m", "input": "Well?", "stream": True}), "m", 1)


def of_chat() -> ollama.Lines:
    return ollama.Lines(read_chat({"model": 'm"', "messages": QUESTION})[1])


def of_generate() -> ollama.Lines:
    return ollama.Lines(read_generate({"model": "m", "prompt": "Well?"})[1])


def written(frame: bytes) -> tuple[bytes, dict[str, Any]]:
    """What comes before the data, and the data without what differs from reply to reply."""
    head, data = frame.split(b"{", 1)
    value = json.loads(b"{" + data)
    return head, {name: each for name, each in value.items() if name not in ("item_id", "created_at")}


@pytest.mark.parametrize(
    ("make", "frame"),
    [
        (of_anthropic, anthropic.frame),
        (of_responses, responses.frame),
        (of_chat, ollama.frame),
        (of_generate, ollama.frame),
    ],
)
def test_a_filled_frame_is_the_frame(make: Callable[[], Any], frame: Callable[[Any], bytes]) -> None:
    first, *chunks = [read_chunk(encode({"choices": [{"delta": {"content": each}}]})) for each in PIECES]
    fast, slow = make(), make()
    fast.frames(first)
    list(slow.feed(first))
    for chunk in chunks:
        (event,) = slow.feed(chunk)
        filled = fast.frames(chunk)
        assert written(filled) == written(frame(event))
        assert len(filled.decode().splitlines()) == filled.count(b"\n")
