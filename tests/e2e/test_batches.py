"""A batch on the real engine, whose server is killed in the middle of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, running, until

COUNT = 10


def jsonl(model: str) -> bytes:
    body = {"model": model, "max_tokens": 24, "ignore_eos": True, "temperature": 0}
    return b"".join(
        json.dumps(
            {
                "custom_id": f"q{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {**body, "messages": [{"role": "user", "content": f"Count from {number}."}]},
            }
        ).encode()
        + b"\n"
        for number in range(COUNT)
    )


def counts(house: HouseProcess, batch_id: str) -> dict[str, int]:
    found: dict[str, int] = house.get(f"/v1/batches/{batch_id}")["request_counts"]
    return found


@pytest.mark.req("S4-x13")
def test_a_batch_survives_the_end_of_its_server(tmp_path: Path, smollm2: Path) -> None:
    models = "models:\n" + entry("chat", smollm2, "{contextLength: 512, slots: 2}")
    with running(tmp_path, models) as house:
        form: dict[str, Any] = {"files": {"file": ("in.jsonl", jsonl("chat"))}, "data": {"purpose": "batch"}}
        file_id = house.http.post("/v1/files", **form).json()["id"]
        made = house.post("/v1/batches", input_file_id=file_id, endpoint="/v1/chat/completions")
        until(lambda: counts(house, made["id"])["completed"] >= 2, "two answers")
        before = counts(house, made["id"])["completed"]
        house.process.kill()
        house.process.wait(60)
    assert before < COUNT, "it was over already: nothing is shown"
    with running(tmp_path, models) as house:
        until(lambda: house.get(f"/v1/batches/{made['id']}")["status"] == "completed", "its end", 50)
        batch = house.get(f"/v1/batches/{made['id']}")
        assert batch["request_counts"] == {"total": COUNT, "completed": COUNT, "failed": 0}
        lines = house.http.get(f"/v1/files/{batch['output_file_id']}/content").text.splitlines()
        assert [json.loads(each)["custom_id"] for each in lines] == [f"q{number}" for number in range(COUNT)]
        answered = house.get("/debug/metrics")["performance"]["totalRequests"]
        assert answered <= COUNT - before, "what was answered is not generated again"
