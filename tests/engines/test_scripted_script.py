"""A script that several scripted servers share."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.engines.connection import Seen
from lanhaven.engines.scripted import Fault
from lanhaven.engines.scripted_script import REMEMBERED, Script, Step, step_of
from lanhaven.errors import InvalidRequest


def seen(text: str = "hello", model: str = "a", path: str = "/v1/chat/completions") -> Seen:
    return Seen("POST", path, {}, b"", {"model": model, "messages": [{"role": "user", "content": text}]})


def texts(script: Script, *requests: Seen) -> list[str | None]:
    faults = [script.take(each) for each in requests]
    return [None if fault is None else fault.text for fault in faults]


def test_steps_are_used_up_in_order() -> None:
    script = Script()
    script.add(step_of("one"), step_of({"text": "two", "times": 2}))
    assert texts(script, *(seen() for _ in range(4))) == ["one", "two", "two", None]
    assert len(script.seen) == 4


def test_a_step_waits_for_its_request() -> None:
    script = Script()
    script.add(
        step_of({"text": "weather", "when": "Weather"}),
        step_of({"text": "other", "model": "b"}),
        Step(Fault(text="vector", path="/v1/embeddings")),
    )
    assert texts(script, seen("hi"), seen("hi", "b"), seen("the WEATHER?"), seen(path="/v1/embeddings")) == [
        None,
        "other",
        "weather",
        "vector",
    ]


def test_what_stays_comes_after_what_is_used_up() -> None:
    script = Script()
    script.add(step_of({"text": "always", "always": True}), step_of("once"))
    assert texts(script, seen(), seen(), seen()) == ["once", "always", "always"]
    script.clear()
    assert texts(script, seen()) == [None]


def test_what_was_asked_is_bounded() -> None:
    script = Script()
    for _ in range(REMEMBERED + 5):
        script.take(seen())
    assert len(script.seen) == REMEMBERED


@pytest.mark.parametrize("wrong", [3, {"nonsense": 1}, {"text": 4}, {"when": 4}, {"always": "yes"}, None])
def test_a_wrong_step_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequest):
        step_of(wrong)
