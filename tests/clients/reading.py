"""Replies read as the programs read them. Each function raises where the program would, and returns what it understood."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import httpx2
import msgspec

from tests.clients import shapes

Shape = TypeVar("Shape")


@dataclass
class Understood:
    """What a program makes of a reply."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: int = 0  # of the prompt; 0 where the reply does not say


Reader = Callable[[httpx2.Response], Understood]


def whole(reply: httpx2.Response, shape: type[Shape]) -> Shape:
    """A JSON reply of this shape."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    return msgspec.json.decode(reply.content, type=shape)


def sse(reply: httpx2.Response) -> Iterator[tuple[str | None, str]]:
    """(event, data) of each frame, line by line as parsers do it."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    event: str | None = None
    data: list[str] = []
    for line in reply.text.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                if not line and data:
                    yield event, "\n".join(data)
                if not line:
                    event, data = None, []
            case "event":
                event = value
            case "data":
                data.append(value)
            case _:
                raise AssertionError(f"no line of an event stream: {line!r}")
    assert not data, "the last frame is not ended"


# ---- OpenAI's chat


def chat_stream(reply: httpx2.Response, *, usage: bool = True) -> Understood:
    """The AI SDK, VS Code, the OpenAI library, Zed's v0: a first delta with a role, one finish, usage alone, [DONE]."""
    frames = [data for _, data in sse(reply)]
    assert frames.pop() == "[DONE]"
    chunks = [msgspec.json.decode(each, type=shapes.ChatChunk) for each in frames]
    assert len({(each.id, each.created) for each in chunks}) == 1
    choices = [choice for each in chunks for choice in each.choices]
    assert choices[0].delta.role == "assistant"
    assert [each.finish_reason is not None for each in choices] == [False] * (len(choices) - 1) + [True]
    told = [each for each in chunks if each.usage is not None]
    assert len(told) == (1 if usage else 0)
    assert not usage or (told[0] is chunks[-1] and not told[0].choices)
    calls = _joined([piece for each in choices for piece in each.delta.tool_calls or ()])
    assert choices[-1].finish_reason == ("tool_calls" if calls else "stop")
    text = "".join(each.delta.content or "" for each in choices)
    return Understood(text, calls, told[0].usage.prompt_tokens if told else 0)


def _joined(pieces: list[shapes.CallPiece]) -> list[tuple[str, dict[str, Any]]]:
    """The AI SDK fails if the first piece of a call has no id, no type of its own and no name."""
    calls: dict[int, tuple[str, list[str]]] = {}
    for piece in pieces:
        function = piece.function or shapes.FunctionPiece()
        if piece.index not in calls:
            assert piece.id
            assert function.name
            calls[piece.index] = (function.name, [])
        calls[piece.index][1].append(function.arguments or "")
    return [(name, json.loads("".join(arguments))) for name, arguments in calls.values()]


def chat_stream_without_usage(reply: httpx2.Response) -> Understood:
    return chat_stream(reply, usage=False)


def model_list(reply: httpx2.Response) -> Understood:
    return Understood(" ".join(each.id for each in whole(reply, shapes.ModelList).data))


def v0_models(reply: httpx2.Response) -> Understood:
    return Understood(" ".join(each.id for each in whole(reply, shapes.V0List).data))


# ---- Ollama's


def root(reply: httpx2.Response) -> Understood:
    assert reply.status_code == 200
    return Understood(reply.text)


def version(reply: httpx2.Response) -> Understood:
    """Codex wants 0.13.4, VS Code 0.6.4."""
    told = whole(reply, dict[str, str])["version"]
    assert tuple(map(int, told.split("."))) >= (0, 13, 4)
    return Understood(told)


def tags(reply: httpx2.Response) -> Understood:
    found = whole(reply, shapes.Tags).models
    assert all(datetime.fromisoformat(each.modified_at) for each in found)
    return Understood(" ".join(each.name for each in found))


def ps(reply: httpx2.Response) -> Understood:
    found = whole(reply, shapes.RunningList).models
    assert all(datetime.fromisoformat(each.expires_at) for each in found)
    return Understood(" ".join(each.name for each in found))


def show(reply: httpx2.Response) -> Understood:
    """VS Code reads the facts; Continue splits the parameters, and fails at a line that is not NAME VALUE."""
    shown = whole(reply, shapes.Shown)
    family = shown.model_info["general.architecture"]
    assert isinstance(shown.model_info["general.basename"], str)
    assert shown.model_info[f"{family}.context_length"] > 0
    assert {"completion", "tools"} <= set(shown.capabilities)
    for line in shown.parameters.split("\n"):
        assert re.match(r'^(\S+)\s+((?:".*")|\S+)$', line), line
    return Understood(shown.parameters)


def chat_lines(reply: httpx2.Response) -> Understood:
    """A stream of /api/chat: every line an object, the last one alone done, with counts."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.text.endswith("}\n")
    lines = [msgspec.json.decode(each, type=shapes.ChatLine) for each in reply.text[:-1].split("\n")]
    return _said(lines)


def chat_whole(reply: httpx2.Response) -> Understood:
    return _said([whole(reply, shapes.ChatLine)])


def _said(lines: list[shapes.ChatLine]) -> Understood:
    assert [each.done for each in lines] == [False] * (len(lines) - 1) + [True]
    last = lines[-1]
    assert last.done_reason in ("stop", "length")
    assert None not in (last.total_duration, last.load_duration, last.eval_duration, last.eval_count)
    called = [call.function for each in lines for call in each.message.tool_calls or ()]
    text = "".join(each.message.content for each in lines)
    return Understood(text, [(each.name, each.arguments) for each in called], last.prompt_eval_count or 0)


def generate_lines(reply: httpx2.Response) -> Understood:
    assert reply.status_code == 200, reply.text
    lines = [msgspec.json.decode(each, type=shapes.GenerateLine) for each in reply.text[:-1].split("\n")]
    assert lines[-1].done
    return Understood("".join(each.response for each in lines))


def pulled(reply: httpx2.Response) -> Understood:
    """Codex and Home Assistant read lines until one says success."""
    assert reply.status_code == 200, reply.text
    states = [json.loads(line)["status"] for line in reply.text.splitlines()]
    assert states[-1] == "success"
    return Understood(states[-1])


def embeddings(reply: httpx2.Response) -> Understood:
    assert len(whole(reply, dict[str, Any])["embeddings"]) == 2
    return Understood()


# ---- Responses


def codex(reply: httpx2.Response) -> Understood:
    """Codex takes the events by their type, items when they are done, and the end from response.completed only."""
    events = [(name, json.loads(data)) for name, data in sse(reply)]
    assert all(name == event["type"] for name, event in events)
    assert [event["sequence_number"] for _, event in events] == list(range(len(events)))
    assert events[0][0] == "response.created"
    assert events[-1][0] == "response.completed"
    done = [event["item"] for name, event in events if name == "response.output_item.done"]
    items = msgspec.convert(done, type=list[shapes.Item])
    streamed = "".join(event["delta"] for name, event in events if name == "response.output_text.delta")
    end = msgspec.convert(events[-1][1]["response"], type=shapes.Completed)
    said = "".join(part.text for each in items if isinstance(each, shapes.MessageItem) for part in each.content)
    assert said == streamed
    calls = [(each.name, json.loads(each.arguments)) for each in items if isinstance(each, shapes.CallItem)]
    return Understood(said, calls, end.usage.input_tokens)


def loaded(reply: httpx2.Response) -> Understood:
    """Codex only looks at the status."""
    assert reply.status_code == 200, reply.text
    return Understood()


# ---- Anthropic's


def cards(reply: httpx2.Response) -> Understood:
    """Claude Code keeps what begins with "claude" or "anthropic"."""
    found = [each.id for each in whole(reply, shapes.CardList).data]
    return Understood(" ".join(each for each in found if each.startswith(("claude", "anthropic"))))


def message_stream(reply: httpx2.Response) -> Understood:
    """The order of Anthropic's stream: a start, blocks one after the other, one delta with the reason, a stop."""
    events = [(name, json.loads(data)) for name, data in sse(reply)]
    assert all(name == event["type"] for name, event in events)
    names = [name for name, _ in events if name != "ping"]
    assert (names[0], names[-2], names[-1]) == ("message_start", "message_delta", "message_stop")
    msgspec.convert(events[0][1]["message"], type=shapes.MessageStart)
    blocks: list[dict[str, Any]] = []
    opened = False
    for name, event in events[1:-2]:
        match name:
            case "content_block_start":
                assert not opened
                assert event["index"] == len(blocks)
                blocks.append({**event["content_block"], "pieces": []})
                opened = True
            case "content_block_delta":
                assert opened
                assert event["index"] == len(blocks) - 1
                blocks[-1]["pieces"].append(_piece(event["delta"]))
            case "content_block_stop":
                assert opened
                opened = False
            case _:
                assert name == "ping"
    assert not opened
    end = events[-2][1]
    usage = msgspec.convert(end["usage"], type=shapes.MessageUsage)
    calls = [
        (each["name"], json.loads("".join(each["pieces"]) or "{}")) for each in blocks if each["type"] == "tool_use"
    ]
    assert end["delta"]["stop_reason"] == ("tool_use" if calls else "end_turn")
    text = "".join("".join(each["pieces"]) for each in blocks if each["type"] == "text")
    return Understood(text, calls, usage.input_tokens + usage.cache_read_input_tokens)


def _piece(delta: dict[str, Any]) -> str:
    names = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}
    piece: str = delta[names[delta["type"]]]
    return piece
