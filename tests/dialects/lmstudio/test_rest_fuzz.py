"""Whatever comes in is an answer or an error that names it; whatever an engine sends, the events fit together."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lanhaven.dialects.chunks import Chunk, ChunkChoice, Delta
from lanhaven.dialects.lmstudio.rest.chat_events import Telling
from lanhaven.dialects.lmstudio.rest.chat_request import KNOWN, read_chat
from lanhaven.errors import ClientError, UpstreamError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "text", "image", "audio"])},
    optional={"content": VALUES, "data_url": st.just("data:image/png;base64,AA") | VALUES},
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("alpha") | VALUES, "input": st.text() | st.lists(ITEMS, max_size=3) | VALUES},
    optional=dict.fromkeys(sorted(KNOWN - {"model", "input"}), VALUES) | {"unknown": VALUES},
)
DELTAS = st.builds(Delta, content=st.none() | st.text(max_size=3), reasoning_content=st.none() | st.text(max_size=3))
PROGRESS = st.none() | st.dictionaries(st.sampled_from(["total", "processed"]), st.integers(-5, 20) | st.text())


@given(BODIES)
def test_a_body_is_read_or_refused(body: dict[str, Any]) -> None:
    refusal = None
    try:
        asked = read_chat(body)
    except ClientError as error:
        refusal = error
    if refusal is not None:
        assert refusal.param is not None
        return
    assert asked.model == body["model"]
    assert set(asked.sampling) <= {"temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens"}


@given(
    st.lists(
        st.builds(
            Chunk,
            choices=st.lists(st.builds(ChunkChoice, index=st.integers(0, 1), delta=DELTAS), max_size=2),
            prompt_progress=PROGRESS,
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_events_fit_together(chunks: list[Chunk], broken: bool) -> None:
    telling = Telling(_prompt=0.0)
    events = [event for chunk in chunks for event in telling.feed(chunk)]
    if broken:
        events += telling.fails(UpstreamError("It broke."))
    else:
        events += [*telling.answer_ends(), telling.ends()]
    *events, last = events
    assert last["type"] == "chat.end"
    open_kind, texts = "prompt_processing", []
    for event in events:
        kind, _, what = event["type"].partition(".")
        match what:
            case "start":
                assert open_kind == ""
                open_kind = kind
                texts.append("")
            case "end":
                assert open_kind == kind
                open_kind = ""
            case "delta":
                assert open_kind == kind
                texts[-1] += event["content"]
            case "progress":
                assert 0 < event["progress"] <= 1
    assert open_kind == ""
    assert [each["content"] for each in last["result"]["output"]] == texts
