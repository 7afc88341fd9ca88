"""What the body of a batch call asks."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.batch.prompts import MAX_PROMPTS, Mode, is_batch, read_plan
from lanhaven.errors import InvalidRequest


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


A, B, C = user("a"), user("b"), user("c")
CALM, SHORT = system("calm"), system("short")


def messages(mode: str | None, *given: dict[str, Any]) -> list[Any]:
    plan = read_plan({"messages": list(given), **({} if mode is None else {"processing_mode": mode})})
    assert [each.index for each in plan.prompts] == list(range(len(plan.prompts)))
    return [each.body["messages"] for each in plan.prompts]


@pytest.mark.req("S4-x9")
def test_a_conversation_is_one_prompt() -> None:
    answer = {"role": "assistant", "content": "x"}
    assert messages("conversation", CALM, A, answer, B) == [[CALM, A, answer, B]]


@pytest.mark.req("S4-x9")
@pytest.mark.parametrize("mode", ["sequential", "parallel", None])
def test_every_user_message_is_a_prompt_of_its_own(mode: str | None) -> None:
    assert messages(mode, A, B, C) == [[A], [B], [C]]
    assert messages(mode, CALM, A, B) == [[CALM, A], [CALM, B]]
    assert messages(mode, A, CALM, B) == [[A], [CALM, B]]


def test_system_messages_hold_until_others_come() -> None:
    assert messages("parallel", CALM, SHORT, A, B) == [[CALM, SHORT, A], [CALM, SHORT, B]]
    assert messages("parallel", CALM, A, SHORT, B, C) == [[CALM, A], [SHORT, B], [SHORT, C]]


@pytest.mark.req("S4-x9")
def test_with_context_a_prompt_is_what_it_adds() -> None:
    assert messages("sequential_with_context", CALM, A, B, SHORT, C) == [[CALM, A], [B], [SHORT, C]]


def test_requests_lie_over_what_they_share() -> None:
    first, second = {"messages": [A], "temperature": 1, "custom_id": "x"}, {"messages": [B], "model": "other"}
    plan = read_plan({"model": "m", "temperature": 0, "requests": [first, second], "include_timing": True})
    assert [each.body for each in plan.prompts] == [
        {"model": "m", "temperature": 1, "messages": [A]},
        {"model": "other", "temperature": 0, "messages": [B]},
    ]
    assert [each.custom_id for each in plan.prompts] == ["x", None]
    assert (plan.mode, plan.individual, plan.timing, plan.stream) == (Mode.PARALLEL, True, True, False)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": [CALM]}, "messages"),
        ({"messages": [A] * (MAX_PROMPTS + 1)}, "messages"),
        ({"messages": [A, {"role": "assistant", "content": "x"}]}, "messages[1].role"),
        ({"messages": [A], "requests": [{}]}, "requests"),
        ({"messages": [A], "processing_mode": "fast"}, "processing_mode"),
        ({"messages": [A], "processing_mode": ["parallel"]}, "processing_mode"),
        ({"messages": [A], "return_individual": 1}, "return_individual"),
        ({"messages": [A], "include_timing": "yes"}, "include_timing"),
        ({"messages": [A], "stream": True, "return_individual": False}, "return_individual"),
        ({"messages": [A], "batch_size": 0}, "batch_size"),
        ({"messages": [A], "batch_size": True}, "batch_size"),
        ({"requests": []}, "requests"),
        ({"requests": "x"}, "requests"),
        ({"requests": [1]}, "requests[0]"),
        ({"requests": [{"messages": [A], "custom_id": 1}]}, "requests[0].custom_id"),
        ({"requests": [{"messages": [A], "stream": True}]}, "requests[0].stream"),
        ({"requests": [{"messages": [A]}], "processing_mode": "conversation"}, "processing_mode"),
        ({"requests": [{"messages": [A]}], "processing_mode": "sequential_with_context"}, "processing_mode"),
    ],
)
def test_what_cannot_be_served_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_plan(body)
    assert caught.value.param == param


def test_a_plain_chat_is_no_batch() -> None:
    assert not is_batch({"processing_mode": None})
    assert not is_batch({"processing_mode": "conversation"})
    assert is_batch({"processing_mode": "sequential"})


@pytest.mark.req("F-124")
@pytest.mark.parametrize(
    "body",
    [
        {"requests": [{}] * 100_000, **dict.fromkeys(map(str, range(200)))},
        {"requests": [{}] * 2, **dict.fromkeys(map(str, range(300)))},
        {"messages": [A] * 300, **dict.fromkeys(map(str, range(300)))},
    ],
)
def test_more_than_a_batch_may_have_is_not_spread_out(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="256"):
        read_plan(body)
