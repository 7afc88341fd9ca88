"""Many prompts in one call, over real sockets to the mock provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.events import Failure, InferenceComplete
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

PATH = "/v1/batch/chat/completions"
MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, config: {slots: 2}}
  - {id: beta, provider: mock, enabled: true}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path, MODELS) as house:
        yield house


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


async def batch(house: House, path: str = PATH, **body: Any) -> dict[str, Any]:
    reply = await house.http.post(path, json=body)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def texts(reply: dict[str, Any]) -> list[str]:
    return [each["choices"][0]["message"]["content"] for each in reply["completions"]]


async def test_prompts_are_answered_each_by_itself(house: House) -> None:
    reply = await batch(house, messages=said("one two", "three", "four five six"))
    assert reply["object"] == "chat.completion.batch"
    assert reply["id"].startswith("chatcmpl-batch-")
    assert reply["processing_mode"] == "parallel"
    assert texts(reply) == ["one two", "three", "four five six"]
    assert [each["index"] for each in reply["completions"]] == [0, 1, 2]
    assert reply["batch_info"] == {"groups_processed": 3, "successful": 3, "failed": 0}
    assert reply["usage"]["completion_tokens"] == 6
    assert "timing" not in reply
    assert all("timing" not in each for each in reply["completions"])
    ends = house.named(InferenceComplete)
    assert len(ends) == 3
    assert len({each.request_id for each in ends}) == 3


@pytest.mark.req("S4-x9")
async def test_prompts_can_see_what_was_said_before(house: House) -> None:
    system = {"role": "system", "content": "calm"}
    given = [system, *said("one", "two", "three")]
    reply = await batch(house, messages=given, processing_mode="sequential_with_context", model="alpha")
    assert texts(reply) == ["one", "two", "three"]
    sent = [each.body["messages"] for each in house.seen]
    assert [len(each) for each in sent] == [2, 4, 6]
    assert sent[2] == [
        system,
        *({"role": role, "content": text} for text in ("one", "two") for role in ("user", "assistant")),
        *said("three"),
    ]


@pytest.mark.req("S4-x9")
async def test_prompts_one_after_the_other_see_nothing_of_each_other(house: House) -> None:
    await batch(house, messages=said("one", "two"), processing_mode="sequential")
    assert [each.body["messages"] for each in house.seen] == [said("one"), said("two")]
    assert house.mock.server("alpha").most_running == 1


@pytest.mark.req("S4-x9")
async def test_the_answers_come_as_one_with_their_times_when_asked(house: House) -> None:
    reply = await batch(house, messages=said("one", "two"), return_individual=False, include_timing=True)
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": "one\n\ntwo"}
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["timing"]["total_time"] >= reply["timing"]["average_per_group"] > 0
    assert reply["errors"] == []
    assert "completions" not in reply


async def test_each_answer_has_its_times_when_asked(house: House) -> None:
    reply = await batch(house, messages=said("one", "two"), include_timing=True)
    for each in reply["completions"]:
        assert each["timing"]["total_time"] > 0
        assert each["timing"]["started"] >= 0


@pytest.mark.req("S4-x13")
async def test_requests_with_fields_of_their_own(house: House) -> None:
    requests: list[dict[str, Any]] = [
        {"custom_id": "a", "messages": said("one two three"), "max_tokens": 1},
        {"custom_id": "b", "messages": said("one two three"), "model": "beta"},
    ]
    reply = await batch(house, "/batch/chat/completions", requests=requests, model="alpha", temperature=0)
    assert texts(reply) == ["one", "one two three"]
    assert [(each["custom_id"], each["model"]) for each in reply["completions"]] == [("a", "alpha"), ("b", "beta")]
    assert [each.body["temperature"] for each in house.seen] == [0, 0]


async def test_what_fails_is_told_where_it_fails(house: House) -> None:
    requests: list[dict[str, Any]] = [
        {"messages": said("good")},
        {"messages": said("x"), "model": "nobody"},
        {"messages": []},
        {"messages": said("x"), "temperature": "hot"},
        {"messages": said("x"), "mock": {"status": 500}},
        {"messages": said("x"), "mock": {"do": "rst", "at": 10}},
    ]
    reply = await batch(house, requests=requests, model="beta")
    assert reply["batch_info"] == {"groups_processed": 6, "successful": 1, "failed": 5}
    assert reply["completions"][0]["choices"][0]["message"]["content"] == "good"
    failed = reply["completions"][1:]
    assert [each["status"] for each in failed] == [404, 400, 400, 502, 502]
    assert [each["error"]["code"] for each in failed][:3] == ["model_not_found", "invalid_request", "invalid_request"]
    assert failed[1]["error"]["param"] == "messages"
    assert all(each["id"] and each["error"]["message"] and "choices" not in each for each in failed)
    joined = await batch(house, requests=requests[:3], model="beta", return_individual=False)
    assert joined["choices"][0]["message"]["content"] == "good"
    assert [each["index"] for each in joined["errors"]] == [1, 2]


async def test_with_context_a_question_that_failed_is_left_out(house: House) -> None:
    (await house.chat("warm", model="alpha")).raise_for_status()
    house.mock.server("alpha").script(Fault(times=1), Fault(status=500, times=1))
    reply = await batch(house, messages=said("one", "two", "three"), processing_mode="sequential_with_context")
    assert ["error" in each for each in reply["completions"]] == [False, True, False]
    assert house.sent["messages"] == [*said("one"), {"role": "assistant", "content": "one"}, *said("three")]


async def test_no_more_run_at_once_than_there_are_slots(house: House) -> None:
    mock = {"delay": 0.01}
    (await house.chat("warm", model="alpha")).raise_for_status()
    reply = await batch(house, messages=said(*"abcdefgh"), model="alpha", mock=mock)
    assert reply["batch_info"]["successful"] == 8
    assert house.mock.server("alpha").most_running == 2
    assert max(each.queue_seconds for each in house.named(InferenceComplete)) < 0.2


async def test_a_client_may_want_less_at_once(house: House) -> None:
    await batch(house, messages=said(*"abcd"), model="beta", batch_size=1)
    assert house.mock.server("beta").most_running == 1


async def test_somebody_else_waits_for_one_prompt_and_not_for_the_batch(house: House) -> None:
    """FIFO at the instance, and only as many prompts there as it has slots."""
    (await house.chat("warm", model="alpha")).raise_for_status()
    server = house.mock.server("alpha")
    server.script(*[Fault(do=Act.STALL, at=-1, times=1)] * 2)
    running = asyncio.create_task(batch(house, messages=said(*"abcdef"), model="alpha"))
    await house.until(lambda: server.running == 2)
    other = asyncio.create_task(house.chat("other", model="alpha"))
    await house.until(lambda: house.services.pool.instances()[0].waiting == 1)
    running.cancel()
    assert (await other).status_code == 200
    await asyncio.wait([running])


async def test_who_leaves_ends_every_prompt(house: House) -> None:
    (await house.chat("warm", model="alpha")).raise_for_status()
    server = house.mock.server("alpha")
    server.script(*[Fault(do=Act.STALL, at=-1, times=1)] * 2)
    with pytest.raises(httpx2.ReadTimeout):
        await house.http.post(PATH, json={"messages": said(*"abcdef"), "model": "alpha"}, timeout=0.3)
    await house.until(lambda: len(house.named(Failure)) == 2)
    assert {each.code for each in house.named(Failure)} == {"client_closed"}
    assert server.generations <= 3, "the others were never asked"


async def test_answers_come_as_they_are_there(house: House) -> None:
    body = {
        "model": "beta",
        "stream": True,
        "include_timing": True,
        "requests": [
            {"messages": said("slow"), "mock": {"delay": 0.1}},
            {"messages": said("fast")},
            {"messages": said("x"), "model": "nobody"},
        ],
    }
    (await house.chat("warm", model="beta")).raise_for_status()
    async with house.http.stream("POST", PATH, json=body) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") async for line in reply.aiter_lines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    items = [each["item"] for each in events[:-1]]
    assert {each["object"] for each in events[:-1]} == {"chat.completion.batch.item"}
    assert items[-1]["index"] == 0, "the slow one is last"
    assert sorted(each["index"] for each in items) == [0, 1, 2]
    assert events[-1]["object"] == "chat.completion.batch"
    assert events[-1]["batch_info"]["failed"] == 1
    assert events[-1]["timing"]["total_time"] >= 0.1


@pytest.mark.req("S4-x9")
async def test_a_plain_chat_may_ask_for_a_batch(house: House) -> None:
    path = "/v1/chat/completions"
    reply = await batch(house, path, messages=said("one", "two"), processing_mode="sequential")
    assert texts(reply) == ["one", "two"]
    plain = await batch(house, path, messages=said("one", "two"), processing_mode="conversation", include_timing=False)
    assert plain["object"] == "chat.completion"
    assert "processing_mode" not in house.sent
    talked_of = await batch(house, path, messages=said('what is "processing_mode"?'))
    assert talked_of["object"] == "chat.completion"
    streamed = await house.http.post(
        path, json={"messages": said("one"), "processing_mode": "conversation", "stream": True}
    )
    assert streamed.text.endswith("data: [DONE]\n\n")
    refused = await house.http.post(path, json={"messages": said("one"), "processing_mode": "at random"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "processing_mode"


async def test_what_cannot_be_served_is_refused_whole(house: House) -> None:
    reply = await house.http.post(PATH, json={"messages": said(*["x"] * 257)})
    assert reply.status_code == 400
    assert "/v1/batches" in reply.json()["error"]["message"]
    assert (await house.http.get(PATH)).status_code == 405
