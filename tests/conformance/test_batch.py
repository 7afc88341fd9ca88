"""Batches by the official openai SDK: on a real model, and on a scripted one; many prompts in one call beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import openai as sdk
import pytest
from openai import OpenAI
from openai.types import Batch

from tests.conformance.conftest import House
from tests.house_process import running, until

MODELS = "models:\n  - {id: smollm2, provider: mock, enabled: true}\n"
OVER = ("completed", "failed", "expired", "cancelled")
CAPITALS = {"fr": "What is the capital of France?", "es": "What is the capital of Spain?", "it": "And of Italy?"}


@pytest.fixture(scope="module", params=["engine", "mock"])
def client(request: pytest.FixtureRequest, house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    with ExitStack() as stack:
        if request.param == "engine":
            yield stack.enter_context(house.openai())
        else:
            mock = stack.enter_context(running(tmp_path_factory.mktemp("mock"), MODELS, "--provider", "mock"))
            yield stack.enter_context(OpenAI(base_url=f"{mock.url}/v1", api_key="x", max_retries=0))


def line(custom_id: str, text: str, **body: Any) -> dict[str, Any]:
    chat = {"model": "smollm2", "messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": {**chat, **body}}


def start(client: OpenAI, lines: list[dict[str, Any]]) -> Batch:
    content = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    assert (file.purpose, file.filename, file.bytes) == ("batch", "lines.jsonl", len(content))
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"by": "test"}
    )


def finished(client: OpenAI, batch: Batch) -> Batch:
    def over() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return found if found.status in OVER else None

    found: Batch = until(over, "the end of the batch", 50)
    return found


def results(client: OpenAI, file_id: str | None) -> dict[str, dict[str, Any]]:
    assert file_id is not None
    lines = [json.loads(text) for text in client.files.content(file_id).text.splitlines()]
    return {each["custom_id"]: each["response"] for each in lines}


@pytest.mark.req("S4-x13")
def test_a_batch_of_a_file(client: OpenAI) -> None:
    made = start(client, [*(line(name, text) for name, text in CAPITALS.items()), line("none", "x", model="nobody")])
    assert (made.object, made.status, made.metadata) == ("batch", "validating", {"by": "test"})
    batch = finished(client, made)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 4, "completed": 3, "failed": 1}
    assert batch.usage is not None
    assert batch.usage.output_tokens > 0
    good = results(client, batch.output_file_id)
    assert list(good) == list(CAPITALS)
    for each in good.values():
        assert each["status_code"] == 200
        assert each["body"]["choices"][0]["message"]["content"]
    bad = results(client, batch.error_file_id)
    assert bad["none"]["status_code"] == 404
    assert bad["none"]["body"]["error"]["code"] == "model_not_found"
    assert client.batches.list(limit=1).data[0].id == batch.id
    assert {made.input_file_id, batch.output_file_id} <= {each.id for each in client.files.list()}
    assert client.files.retrieve(batch.output_file_id or "").purpose == "batch_output"
    assert client.files.delete(made.input_file_id).deleted
    with pytest.raises(sdk.NotFoundError):
        client.files.content(made.input_file_id)


def test_a_batch_is_cancelled(client: OpenAI) -> None:
    slow = {"max_tokens": 400, "ignore_eos": True, "mock": {"delay": 30}}
    made = start(client, [line(f"{number}", "Write a story.", **slow) for number in range(6)])
    until(lambda: client.batches.retrieve(made.id).status == "in_progress", "its start")
    assert client.batches.cancel(made.id).status in ("cancelling", "cancelled")
    batch = finished(client, made)
    assert batch.status == "cancelled"
    assert batch.cancelled_at is not None
    with pytest.raises(sdk.BadRequestError):
        client.batches.cancel(made.id)


def test_a_bad_file_fails_with_its_lines(client: OpenAI) -> None:
    batch = finished(client, start(client, [line("a", "x"), line("a", "x")]))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert [(each.line, each.code) for each in batch.errors.data or []] == [(2, "duplicate_custom_id")]


def test_pages_are_turned_by_the_library(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{n}", b"x"), purpose="batch").id for n in range(3)]
    seen = [each.id for each in client.files.list(limit=2, order="asc")]
    assert [each for each in seen if each in made] == made


@pytest.mark.req("S4-x9", "S4-30")
def test_many_prompts_in_one_call(client: OpenAI) -> None:
    body = {
        "model": "smollm2",
        "max_tokens": 12,
        "temperature": 0,
        "messages": [{"role": "user", "content": text} for text in CAPITALS.values()],
        "include_timing": True,
    }
    reply: Any = client.post("/batch/chat/completions", body=body, cast_to=httpx2.Response)
    told = reply.json()
    assert told["batch_info"] == {"groups_processed": 3, "successful": 3, "failed": 0}
    texts = [each["choices"][0]["message"]["content"] for each in told["completions"]]
    assert all(texts)
    alone = client.chat.completions.create(
        model="smollm2", max_tokens=12, temperature=0, messages=[{"role": "user", "content": CAPITALS["fr"]}]
    )
    assert told["completions"][0]["usage"]["prompt_tokens"] == (alone.usage and alone.usage.prompt_tokens)
    by_chat: Any = client.chat.completions.create(
        model="smollm2",
        max_tokens=4,
        messages=[{"role": "user", "content": text} for text in CAPITALS.values()],
        extra_body={"processing_mode": "sequential_with_context"},
    )
    assert len(by_chat.completions) == 3
    assert by_chat.completions[2]["usage"]["prompt_tokens"] > by_chat.completions[0]["usage"]["prompt_tokens"]
