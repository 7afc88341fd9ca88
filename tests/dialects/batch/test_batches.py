"""/v1/batches over a real socket to the mock provider."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanhaven.dialects.batch.lines import MAX_ERRORS
from lanhaven.dialects.batch.worker import Worker
from lanhaven.engines.scripted import Act, Fault
from lanhaven.events import InferenceComplete
from tests.dialects.batch.lines import CHAT, content, create, jsonl, line, over, seen, upload
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, config: {slots: 2}}
  - {id: vectors, provider: mock, enabled: true, config: {kind: embedding}}
"""


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("batches"), MODELS) as house:
        yield house


@pytest.fixture
async def house(shared: House) -> AsyncIterator[House]:
    """With `alpha` in memory, and no request seen."""
    (await shared.chat("warm")).raise_for_status()
    shared.events.clear()
    shared.mock.server("alpha").requests.clear()
    yield shared
    shared.events.clear()
    await shared.until(lambda: shared.services.gateway.inflight == 0)


async def test_a_file_is_worked_through(house: House) -> None:
    lines = [line(f"q{number}", f"say {number}") for number in range(5)]
    made = await create(house, lines, metadata={"for": "test"})
    assert (made["object"], made["status"]) == ("batch", "validating")
    assert made["expires_at"] - made["created_at"] == 86_400
    batch = await over(house, made)
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 5, "completed": 5, "failed": 0}
    assert batch["metadata"] == {"for": "test"}
    assert (batch["errors"], batch["error_file_id"]) == (None, None)
    assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]
    assert batch["usage"]["output_tokens"] == 10
    assert batch["usage"]["total_tokens"] == batch["usage"]["input_tokens"] + 10
    results = await content(house, batch["output_file_id"])
    assert [each["custom_id"] for each in results] == [f"q{number}" for number in range(5)], "in the order of the file"
    for number, each in enumerate(results):
        assert each["error"] is None
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["choices"][0]["message"]["content"] == f"say {number}"
        assert each["response"]["request_id"] == each["id"]
    told = (await house.http.get(f"/v1/files/{batch['output_file_id']}")).json()
    assert (told["purpose"], told["filename"]) == ("batch_output", f"{batch['id']}_output.jsonl")
    ends = house.named(InferenceComplete)
    assert {each.request_id for each in ends} == {each["id"] for each in results}


async def test_lines_that_fail_stand_in_a_file_of_their_own(house: House) -> None:
    lines = [
        line("good"),
        line("nobody", model="nobody"),
        line("wrong", temperature="hot"),
        line("broken", mock={"status": 500}),
    ]
    batch = await over(house, await create(house, lines))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 4, "completed": 1, "failed": 3}
    assert [each["custom_id"] for each in await content(house, batch["output_file_id"])] == ["good"]
    failed = {each["custom_id"]: each["response"] for each in await content(house, batch["error_file_id"])}
    assert {name: each["status_code"] for name, each in failed.items()} == {"nobody": 404, "wrong": 400, "broken": 502}
    assert failed["nobody"]["body"]["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("/v1/completions", {"prompt": "one two"}, "choices"),
        ("/v1/embeddings", {"input": ["one", "two"], "model": "vectors", "dimensions": 4}, "data"),
        ("/v1/responses", {"input": "one two", "store": False}, "output"),
    ],
)
async def test_every_endpoint(house: House, endpoint: str, body: dict[str, Any], field: str) -> None:
    batch = await over(house, await create(house, [line("a", url=endpoint, **body)], endpoint))
    (result,) = await content(house, batch["output_file_id"])
    assert result["response"]["body"][field]
    assert batch["usage"]["input_tokens"] > 0
    if endpoint == "/v1/embeddings":
        assert [len(each["embedding"]) for each in result["response"]["body"]["data"]] == [4, 4]


GOOD = line("a")


@pytest.mark.parametrize(
    ("lines", "code", "number", "param"),
    [
        (b"", "empty_file", None, None),
        (b"\n \n", "empty_file", None, None),
        (jsonl([GOOD]) + b"\n{not json\n", "invalid_json_line", 3, None),
        (jsonl([GOOD, [1]]), "invalid_json_line", 2, None),
        (b'{"custom_id": "\xff"}\n', "invalid_json_line", 1, None),
        (jsonl([GOOD, GOOD]), "duplicate_custom_id", 2, "custom_id"),
        (jsonl([{**GOOD, "custom_id": ""}]), "invalid_custom_id", 1, "custom_id"),
        (jsonl([{**GOOD, "custom_id": 1}]), "invalid_custom_id", 1, "custom_id"),
        (jsonl([{**GOOD, "method": "GET"}]), "invalid_method", 1, "method"),
        (jsonl([{**GOOD, "url": "/v1/embeddings"}]), "mismatched_endpoint", 1, "url"),
        (jsonl([{**GOOD, "body": "x"}]), "invalid_body", 1, "body"),
        (jsonl([line("a", stream=True)]), "invalid_body", 1, "body.stream"),
        (b'{"custom_id": "' + b"x" * (17 << 20) + b'"}\n', "line_too_long", 1, None),
    ],
    ids=range(13),
)
async def test_a_bad_line_is_named_and_nothing_is_asked(
    house: House, lines: bytes, code: str, number: int | None, param: str | None
) -> None:
    asked = {"input_file_id": await upload(house, lines), "endpoint": CHAT}
    made = (await house.http.post("/v1/batches", json=asked)).json()
    batch = await over(house, made)
    assert batch["status"] == "failed"
    assert batch["failed_at"] >= batch["created_at"]
    (error,) = batch["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == (code, number, param)
    assert error["message"]
    assert house.mock.server("alpha").requests == []


async def test_of_many_bad_lines_the_first_are_told(house: House) -> None:
    batch = await over(house, await create(house, [1] * 300))
    assert [each["line"] for each in batch["errors"]["data"]] == list(range(1, MAX_ERRORS + 1))


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"endpoint": "/v1/models"}, 400, "endpoint"),
        ({"input_file_id": 1}, 400, "input_file_id"),
        ({"input_file_id": "file-none"}, 404, "id"),
        ({"completion_window": "soon"}, 400, "completion_window"),
        ({"completion_window": "31d"}, 400, "completion_window"),
        ({"completion_window": 24}, 400, "completion_window"),
        ({"metadata": {"a": 1}}, 400, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, 400, "metadata"),
        ({"metadata": {"n" * 65: ""}}, 400, "metadata"),
        ({"output_expires_after": {"seconds": 5}}, 400, "seconds"),
        ({"output_expires_after": "1h"}, 400, "output_expires_after"),
    ],
)
async def test_what_cannot_be_a_batch_is_refused(house: House, fields: dict[str, Any], status: int, param: str) -> None:
    asked = {"input_file_id": "file-none", "endpoint": CHAT, **fields}
    reply = await house.http.post("/v1/batches", json=asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


async def test_results_cannot_be_asked_again(house: House) -> None:
    batch = await over(
        house, await create(house, [GOOD], output_expires_after={"anchor": "created_at", "seconds": 3600})
    )
    output = (await house.http.get(f"/v1/files/{batch['output_file_id']}")).json()
    assert output["expires_at"] - output["created_at"] == 3600
    reply = await house.http.post("/v1/batches", json={"input_file_id": output["id"], "endpoint": CHAT})
    assert reply.json()["error"]["param"] == "input_file_id"


async def test_batches_are_listed_in_pages(house: House) -> None:
    made = [(await over(house, await create(house, [GOOD])))["id"] for _ in range(3)]
    page = (await house.http.get("/v1/batches?limit=2")).json()
    assert [each["id"] for each in page["data"]] == [made[2], made[1]]
    assert page["has_more"] is True
    rest = (await house.http.get(f"/batches?limit=1&after={made[1]}")).json()
    assert [each["id"] for each in rest["data"]] == [made[0]]


async def stalled(house: House, count: int) -> None:
    """The next `count` requests get no answer."""
    house.mock.server("alpha").script(*[Fault(do=Act.STALL, at=-1, times=1)] * count)


async def test_a_batch_is_cancelled_and_keeps_what_it_has(house: House) -> None:
    server = house.mock.server("alpha")
    server.script(Fault(times=1))
    await stalled(house, 2)
    made = await create(house, [line(f"q{number}") for number in range(6)])
    await house.until(lambda: server.running == 2)
    running = await seen(house, made)
    assert running["status"] == "in_progress"
    assert running["request_counts"]["completed"] == 1
    assert (await house.http.delete(f"/v1/files/{made['input_file_id']}")).status_code == 400, "it is being read"
    reply = await house.http.post(f"/v1/batches/{made['id']}/cancel")
    assert reply.json()["status"] == "cancelling"
    batch = await over(house, made)
    assert batch["status"] == "cancelled"
    assert batch["cancelling_at"] <= batch["cancelled_at"]
    assert len(await content(house, batch["output_file_id"])) == 1
    undone = await content(house, batch["error_file_id"])
    assert {each["error"]["code"] for each in undone} == {"batch_cancelled"}
    assert len(undone) == 5
    await house.until(lambda: server.running == 0)
    again = await house.http.post(f"/v1/batches/{made['id']}/cancel")
    assert again.status_code == 400
    assert "cancelled" in again.json()["error"]["message"]
    assert (await house.http.delete(f"/v1/files/{made['input_file_id']}")).status_code == 200


async def test_a_request_that_came_at_a_wrong_moment_is_repeated(house: House) -> None:
    house.mock.server("alpha").script(Fault(status=503, times=1))
    batch = await over(house, await create(house, [GOOD]))
    assert batch["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert len(house.mock.server("alpha").requests) == 2


async def test_batches_give_way(tmp_path: Path) -> None:
    """With one slot: a request of somebody else comes before all that is left of a batch."""
    async with serving(tmp_path, MODELS.replace("slots: 2", "slots: 1"), batch_concurrency=4) as house:
        (await house.chat("warm")).raise_for_status()
        server = house.mock.server("alpha")
        server.script(Fault(delay=0.2, times=1))
        made = await create(house, [line(f"q{number}", f"q{number}") for number in range(4)])
        await house.until(lambda: server.running == 1)
        assert (await house.chat("somebody")).status_code == 200
        await over(house, made)
        asked = [each.body["messages"][0]["content"] for each in server.requests]
        assert asked[2] == "somebody"
        assert sorted(asked[3:]) == ["q1", "q2", "q3"]


async def test_no_more_run_at_once_than_the_setting_says(tmp_path: Path) -> None:
    async with serving(tmp_path, batch_concurrency=3) as house:
        (await house.chat("warm")).raise_for_status()
        one = await create(house, [line(f"{number}", mock={"delay": 0.01}) for number in range(8)])
        other = await create(house, [line(f"{number}", mock={"delay": 0.01}) for number in range(8)])
        await over(house, one)
        await over(house, other)
        assert house.mock.server("alpha").most_running == 3


async def test_the_next_server_goes_on_behind_what_was_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        (await house.chat("warm")).raise_for_status()
        house.mock.server("alpha").script(Fault(times=1), Fault(times=1))
        await stalled(house, 2)
        made = await create(house, [line(f"q{number}", f"q{number}") for number in range(5)])
        await house.until(lambda: house.mock.server("alpha").running == 2)
        await house.services.background.aclose()
    async with serving(tmp_path, MODELS) as house:
        batch = await over(house, made)
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 5, "completed": 5, "failed": 0}
        results = await content(house, batch["output_file_id"])
        assert [each["custom_id"] for each in results] == [f"q{number}" for number in range(5)]
        assert len(house.mock.server("alpha").requests) == 3, "two were answered before"


async def test_a_batch_whose_time_is_over_expires(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        (await house.chat("warm")).raise_for_status()
        house.mock.server("alpha").script(Fault(times=1))
        await stalled(house, 2)
        made = await create(house, [line(f"q{number}") for number in range(4)], completion_window="1m")
        await house.until(lambda: house.mock.server("alpha").running == 2)
        await house.services.background.aclose()
    database = tmp_path / "data" / "batches" / "batches.sqlite3"
    _age(database, made["id"], 120)
    async with serving(tmp_path, MODELS) as house:
        batch = await over(house, made)
        assert batch["status"] == "expired"
        assert batch["expired_at"]
        assert len(await content(house, batch["output_file_id"])) == 1
        undone = await content(house, batch["error_file_id"])
        assert [(each["error"]["code"], each["response"]) for each in undone] == [("batch_expired", None)] * 3


def _age(database: Path, batch_id: str, seconds: int) -> None:
    """Make it look as if it had been created earlier."""
    import json
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection, connection:
        (body,) = connection.execute("SELECT body FROM batches WHERE id = ?", (batch_id,)).fetchone()
        told = json.loads(body)
        told |= {"created_at": told["created_at"] - seconds, "expires_at": told["expires_at"] - seconds}
        connection.execute("UPDATE batches SET body = ? WHERE id = ?", (json.dumps(told).encode(), batch_id))


async def test_a_file_that_is_gone_fails_its_batch(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        file_id = await upload(house, jsonl([GOOD]))
        (tmp_path / "data" / "batches" / "files" / file_id).unlink()
        made = (await house.http.post("/v1/batches", json={"input_file_id": file_id, "endpoint": CHAT})).json()
        batch = await over(house, made)
        assert batch["status"] == "failed"
        assert os.strerror(errno.ENOENT) in batch["errors"]["data"][0]["message"]
        assert (await house.http.get(f"/v1/files/{file_id}/content")).status_code == 500


async def test_a_full_disk_fails_the_batch_and_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        made = await over(house, await create(house, [GOOD]))
        (worker,) = house.services.background._known
        assert isinstance(worker, Worker)
        database = worker._shelf._database
        (pages,) = await database.run(lambda opened: opened.execute("PRAGMA page_count").fetchone())
        await database.run(lambda opened: opened.execute(f"PRAGMA max_page_count = {pages + 6}"))
        batch = await over(house, await create(house, [line("a", "w" * 60_000)]))
        assert batch["status"] == "failed"
        assert batch["errors"]["data"][0]["code"] == "storage_full"
        assert (await seen(house, made))["status"] == "completed"
        await database.run(lambda opened: opened.execute("PRAGMA max_page_count = 100000"))
        assert (await over(house, await create(house, [GOOD])))["status"] == "completed"


async def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, batch_keep=1) as house:
        made = await create(house, [GOOD])
        batch = await over(house, made)
        files = tmp_path / "data" / "batches" / "files"
        assert len(list(files.iterdir())) == 2
        while (await house.http.get(f"/v1/files/{batch['output_file_id']}")).status_code == 200:
            pass
        fresh = await upload(house, b"x")
        assert [each.name for each in files.iterdir()] == [fresh]
