"""The verdict on a stream: what passes, what is added, dropped, or turned into an error."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.errors import ContextLengthExceeded, GatewayError, ProviderUnavailable, QueueFull, UpstreamError
from lanhaven.types.chat import Outcome, Usage
from lanhaven.upstream.stream import ReplyStream

DONE = b"data: [DONE]\n\n"


def frame(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(text: str = "", finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    return frame({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}], **more})


USAGE = frame({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}})
GOOD = delta("a") + delta("b") + delta(finish="stop")


class Reading:
    """A stream read to its end."""

    def __init__(self, *pieces: bytes, drop_usage: bool = False, broken: GatewayError | None = None) -> None:
        self.outcome = Outcome()
        stream = ReplyStream(self.outcome, "m", drop_usage=drop_usage)
        self.out = b"".join(stream.feed(piece) for piece in pieces)
        self.out += stream.end(broken)
        self.error = stream.failure
        assert stream.over
        assert stream.feed(delta("late")) == b""


def test_success_is_passed_as_it_came() -> None:
    reading = Reading(GOOD + USAGE + DONE)
    assert reading.out == GOOD + USAGE + DONE
    assert reading.error is None
    assert reading.outcome.finish_reason == "stop"
    assert reading.outcome.usage == Usage(5, 7)


@pytest.mark.parametrize(
    ("frames", "pieces"),
    [
        ((delta(), delta("a"), delta("b"), delta("c")), 3),
        ((delta(), delta("a") + delta("b"), delta("c", finish="stop")), 2),
        ((delta("a", usage=None), delta("b", usage=None)), 1),
        ((delta("a"), delta("a", index=1), delta("b", index=1), delta("b"), delta("c")), 3),
        ((frame({"choices": []}), b": a comment\n\n"), 0),
    ],
)
def test_the_pieces_of_an_answer_are_counted(frames: tuple[bytes, ...], pieces: int) -> None:
    stream = ReplyStream(Outcome(), "m", drop_usage=False)
    for each in frames:
        stream.feed(each)
    assert stream.pieces == pieces


@given(st.lists(st.integers(0, 500), max_size=30))
@pytest.mark.req("F-039")
def test_chunking_changes_nothing(places: list[int]) -> None:
    data = delta("ü€😀") + GOOD + USAGE + DONE
    ends = sorted({0, len(data), *(place % len(data) for place in places)})
    reading = Reading(*(data[start:end] for start, end in itertools.pairwise(ends)))
    assert reading.out == data
    assert reading.error is None


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
@pytest.mark.req("F-039")
def test_other_line_ends(end: bytes) -> None:
    data = (GOOD + USAGE + DONE).replace(b"\n", end)
    assert Reading(*(bytes([byte]) for byte in data)).out.rstrip(b"\r\n") == data.rstrip(b"\r\n")
    assert Reading(data, drop_usage=True).out == (GOOD + DONE).replace(b"\n", end)


@pytest.mark.req("F-034")
def test_done_is_added_after_a_finish_reason() -> None:
    assert Reading(GOOD + USAGE).out == GOOD + USAGE + DONE
    assert Reading(GOOD, broken=UpstreamError("cut")).out == GOOD + DONE


@pytest.mark.parametrize("rest", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n"])
def test_done_without_its_blank_line_counts(rest: bytes) -> None:
    reading = Reading(delta("a") + rest)
    assert (reading.out, reading.error) == (delta("a") + DONE, None)


@pytest.mark.parametrize(
    ("data", "passed"),
    [
        pytest.param(delta("a") + delta("b")[:20], delta("a"), marks=pytest.mark.req("F-033")),
        pytest.param(delta("a"), delta("a"), marks=pytest.mark.req("F-035")),
        pytest.param(b"", b"", marks=pytest.mark.req("F-035")),
        (b": ping\n\n", b": ping\n\n"),
    ],
)
def test_an_unfinished_stream_is_an_error(data: bytes, passed: bytes) -> None:
    reading = Reading(data)
    assert reading.out == passed
    assert isinstance(reading.error, UpstreamError)


@pytest.mark.req("F-031", "F-032")
def test_a_broken_transport_before_the_end_is_its_error() -> None:
    cut = UpstreamError("cut")
    reading = Reading(delta("a") + delta("b")[:9], broken=cut)
    assert (reading.out, reading.error) == (delta("a"), cut)


@pytest.mark.req("F-035")
def test_every_choice_must_finish() -> None:
    assert Reading(delta("a"), delta("b", index=1), delta(finish="stop")).error is not None
    assert Reading(delta("a"), delta("b", index=1), delta(finish="stop"), delta(finish="length", index=1)).error is None


@pytest.mark.req("F-036")
def test_the_first_terminal_wins() -> None:
    assert Reading(GOOD + DONE + delta("x") + DONE).out == GOOD + DONE
    reading = Reading(GOOD + delta("more", finish="length") + USAGE + DONE)
    assert reading.out == GOOD + USAGE + DONE
    assert reading.outcome.finish_reason == "stop"


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (frame({"error": {"code": 500, "message": "boom", "type": "server_error"}}), UpstreamError, "boom"),
        (frame({"error": "boom"}), UpstreamError, "boom"),
        (b'event: error\ndata: {"message": "boom"}\n\n', UpstreamError, "boom"),
        (b"event: error\ndata: boom\n\n", UpstreamError, "boom"),
        (b'error: {"code": 503, "message": "boom"}\n\n', ProviderUnavailable, "boom"),
        (frame({"error": {"type": "rate_limit_error", "message": "boom"}}), QueueFull, "boom"),
    ],
)
@pytest.mark.req("F-043")
def test_error_frames(bad: bytes, kind: type[GatewayError], text: str) -> None:
    reading = Reading(delta("a") + bad + delta("b"), DONE)
    assert reading.out == delta("a")
    assert type(reading.error) is kind
    assert text in reading.error.message


@pytest.mark.req("F-043")
def test_overflow_in_a_frame_keeps_its_numbers() -> None:
    error = {"code": 400, "type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 9, "n_ctx": 4}
    reading = Reading(frame({"error": error}))
    assert isinstance(reading.error, ContextLengthExceeded)
    assert reading.error.facts == {"n_prompt_tokens": 9, "n_ctx": 4}


@pytest.mark.parametrize("bad", [b"data: {oops}\n\n", b"data: [1]\n\n", b"data: 7\n\n", b"data: <html>\n\n"])
@pytest.mark.req("F-044")
def test_data_that_is_no_object_ends_the_stream(bad: bytes) -> None:
    reading = Reading(delta("a") + bad + GOOD)
    assert reading.out == delta("a")
    assert isinstance(reading.error, UpstreamError)


@pytest.mark.parametrize(
    "odd",
    [
        frame({"choices": []}),
        frame({"object": "progress"}),
        frame({"choices": None, "error": None}),
        frame({"choices": [{"index": "0", "delta": {}}]}),
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"index":0,"logprobs":NaN}]}\n\n',
        b": keepalive 1/1\n\n",
        b"data:\n\n",
        b"event: x\nid: 1\n\n",
        b"\n\n",
        b'data: {"choices":[],\ndata: "x":1}\n\n',
    ],
)
@pytest.mark.req("F-044")
def test_oddities_pass(odd: bytes) -> None:
    reading = Reading(delta("a") + odd + GOOD + DONE)
    assert reading.out == delta("a") + odd + GOOD + DONE
    assert reading.error is None


@pytest.mark.req("F-045")
def test_a_call_cut_in_its_arguments_is_no_success() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"ci'}}
    data = frame({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})
    reading = Reading(data)
    assert reading.out == data
    assert isinstance(reading.error, UpstreamError)


def test_an_empty_finish_reason_is_none() -> None:
    reading = Reading(delta("a", finish="") + delta("b", finish="") + delta(finish="stop") + DONE)
    assert reading.out.count(b"data:") == 4
    assert reading.outcome.finish_reason == "stop"


def test_the_usage_chunk_can_be_dropped_but_counts() -> None:
    reading = Reading(GOOD + USAGE + DONE, drop_usage=True)
    assert reading.out == GOOD + DONE
    assert reading.outcome.usage == Usage(5, 7)


@pytest.mark.parametrize(
    ("extra", "usage"),
    [
        ({"usage": {"prompt_tokens": -1, "completion_tokens": 2**63}}, Usage(0, 0)),
        ({"usage": {"prompt_tokens": None, "completion_tokens": "7"}}, Usage(0, 0)),
        ({"usage": {"prompt_tokens": True, "completion_tokens": 3.0}}, Usage(0, 3)),
        ({"usage": "x", "timings": None}, Usage()),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}}, Usage(9, 0, 4)),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 40}}}, Usage(9, 0, 9)),
        ({"timings": {"cache_n": 4, "prompt_n": 5, "predicted_n": 6}}, Usage(9, 6, 4)),
        ({"usage": {"prompt_tokens": 9}, "timings": {"cache_n": 4}}, Usage(9, 0, 4)),
        ({}, Usage()),
    ],
)
@pytest.mark.req("F-046")
def test_counts(extra: dict[str, Any], usage: Usage) -> None:
    assert Reading(delta("a") + delta(finish="stop", **extra) + DONE).outcome.usage == usage


@pytest.mark.req("F-046")
def test_nan_counts_nothing() -> None:
    data = b'data: {"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":NaN}}\n\n'
    reading = Reading(data + DONE)
    assert (reading.error, reading.outcome.usage.prompt_tokens) == (None, 0)


@pytest.mark.req("F-040")
def test_an_endless_frame_is_cut() -> None:
    stream = ReplyStream(Outcome(), "m", drop_usage=False)
    for _ in range(17):
        stream.feed(b"x" * (256 << 10))
    assert isinstance(stream.failure, UpstreamError)
    assert "4 MiB" in stream.failure.message
