"""/v1/files over a real socket."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanhaven.keys.store import KeyScope, KeyStore
from tests.dialects.batch.lines import create, line, over, upload
from tests.serving import MODELS, House, serving, settings_for

pytestmark = pytest.mark.anyio

FORM = "multipart/form-data; boundary=x"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    limits = {"batch_file_bytes": 3 << 20, "batch_disk_bytes": 5 << 20}
    async with serving(tmp_path_factory.mktemp("files"), **limits) as house:
        yield house


@pytest.fixture(autouse=True)
async def emptied(house: House) -> AsyncIterator[None]:
    """Whatever a test uploaded is gone after it, and nothing else lies on the disk."""
    yield
    for each in (await house.http.get("/v1/files")).json()["data"]:
        assert (await house.http.delete(f"/v1/files/{each['id']}")).json()["deleted"]
    assert stored(house) == []


def stored(house: House) -> list[Path]:
    folder = house.services.settings.data_dir / "batches" / "files"
    return list(folder.iterdir()) if folder.exists() else []


async def test_a_file_is_kept_as_it_came(house: House) -> None:
    sent = bytes(range(256)) * 8192 + b"\r\n--x\r\n"
    file_id = await upload(house, sent)
    told = (await house.http.get(f"/v1/files/{file_id}")).json()
    assert (told["object"], told["purpose"], told["filename"]) == ("file", "batch", "in.jsonl")
    assert told["bytes"] == len(sent)
    assert told["expires_at"] - told["created_at"] == 7 * 86_400
    assert "owner" not in told
    reply = await house.http.get(f"/files/{file_id}/content")
    assert reply.content == sent
    (path,) = stored(house)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await house.http.delete(f"/v1/files/{file_id}")).json() == {
        "id": file_id, "object": "file", "deleted": True,
    }  # fmt: skip
    for method, way in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert (await house.http.request(method, f"/v1/files/{file_id}{way}")).status_code == 404


async def test_files_are_listed_in_pages(house: House) -> None:
    made = [await upload(house, b"%d" % number) for number in range(3)]
    everything = (await house.http.get("/v1/files")).json()
    assert [each["id"] for each in everything["data"]] == made[::-1]
    assert everything["has_more"] is False
    page = (await house.http.get("/v1/files", params={"limit": 1, "order": "asc", "after": made[0]})).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([made[1]], True)
    assert (await house.http.get("/v1/files?purpose=batch_output")).json()["data"] == []
    for query in ("limit=0", "limit=x", "order=up"):
        assert (await house.http.get(f"/v1/files?{query}")).status_code == 400


async def test_a_file_may_be_kept_for_less_time(house: House) -> None:
    form: dict[str, Any] = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    reply = await house.http.post("/v1/files", files={"file": ("a", b"x")}, data=form)
    assert reply.json()["expires_at"] - reply.json()["created_at"] == 3600
    wrong = await house.http.post("/v1/files", files={"file": ("a", b"x")}, data=form | {"expires_after[seconds]": "1"})
    assert wrong.json()["error"]["param"] == "expires_after[seconds]"


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x\\y", "a/b", "", "\u00e9" * 300])
async def test_a_name_is_only_a_name(house: House, name: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' + (
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n1\r\n--x--\r\n'.encode()
    )
    reply = await house.http.post("/v1/files", content=body, headers={"content-type": FORM})
    assert reply.status_code == 200, reply.text
    told = reply.json()["filename"]
    assert told
    assert len(told) <= 255
    assert "/" not in told
    assert "\\" not in told


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    also = "" if filename is None else f'; filename="{filename}"'
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{also}\r\n\r\n'.encode() + value + b"\r\n"


GOOD = part("purpose", b"batch") + part("file", b"1", "a")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--x--\r\n", 400),
        (b"no form at all", 400),
        (GOOD, 400),  # never closed
        (part("purpose", b"batch") + b"--x--\r\n", 400),
        (part("file", b"1", "a") + b"--x--\r\n", 400),
        (part("purpose", b"fine-tune") + part("file", b"1", "a") + b"--x--\r\n", 400),
        (GOOD + part("file", b"2", "b") + b"--x--\r\n", 400),
        (part("purpose", b"b" * 5000) + b"--x--\r\n", 400),
        (b"".join(part(f"f{n}", b"") for n in range(20)) + b"--x--\r\n", 400),
        (b"--x\r\nX-Long: " + b"y" * 70_000 + b"\r\n\r\n1\r\n--x--\r\n", 400),
        (part("purpose", b"batch") + part("file", b"z" * (3 << 20) + b"z", "a") + b"--x--\r\n", 413),
        (part("purpose", b"batch") + part("file", b"z" * (4 << 20), "a") + b"--x--\r\n", 413),
    ],
)
async def test_what_is_no_good_form_is_refused(house: House, body: bytes, status: int) -> None:
    reply = await house.http.post("/v1/files", content=body, headers={"content-type": FORM})
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["message"]
    assert stored(house) == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "x"])
async def test_only_forms_are_taken(house: House, kind: str) -> None:
    reply = await house.http.post("/v1/files", content=b"{}", headers={"content-type": kind})
    assert reply.status_code == 415
    assert stored(house) == []


async def test_all_files_together_have_a_bound(house: House) -> None:
    await upload(house, b"x" * (3 << 20))
    reply = await house.http.post(
        "/v1/files", files={"file": ("b", b"y" * (2 << 20) + b"y")}, data={"purpose": "batch"}
    )
    assert reply.status_code == 507
    assert "batch_disk_bytes" in reply.json()["error"]["message"]
    assert len(stored(house)) == 1


async def test_a_client_that_leaves_leaves_nothing(house: House) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield GOOD[:-10]
        await house.until(lambda: len(stored(house)) == 1)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await house.http.post("/v1/files", content=half(), headers={"content-type": FORM})
    await house.until(lambda: stored(house) == [])


async def test_what_a_crash_left_is_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "batches" / "files"
    folder.mkdir(parents=True)
    for name in ("file-1.part", "file-2"):
        (folder / name).write_bytes(b"x")
    async with serving(tmp_path) as house:
        await house.until(lambda: stored(house) == [])


async def test_the_files_of_another_key_are_not_there(tmp_path: Path) -> None:
    keys = KeyStore.from_settings(settings_for(tmp_path, {}, MODELS))
    anna, bert = (keys.add(name, [KeyScope.INFERENCE]) for name in ("anna", "bert"))
    async with serving(tmp_path) as house:
        house.http.headers["X-API-Key"] = anna
        batch = await over(house, await create(house, [line("a")]))
        hers = (await house.http.get("/v1/files")).json()["data"]
        assert {each["id"] for each in hers} == {batch["input_file_id"], batch["output_file_id"]}
        house.http.headers["X-API-Key"] = bert
        assert (await house.http.get("/v1/files")).json()["data"] == []
        assert (await house.http.get("/v1/batches")).json()["data"] == []
        for path in (
            f"/v1/files/{batch['output_file_id']}",
            f"/v1/files/{batch['output_file_id']}/content",
            f"/v1/batches/{batch['id']}",
        ):
            assert (await house.http.get(path)).status_code == 404
        assert (await house.http.post(f"/v1/batches/{batch['id']}/cancel")).status_code == 404
        assert (await house.http.delete(f"/v1/files/{batch['input_file_id']}")).status_code == 404
        asked = {"input_file_id": batch["input_file_id"], "endpoint": "/v1/chat/completions"}
        assert (await house.http.post("/v1/batches", json=asked)).status_code == 404
        del house.http.headers["X-API-Key"]
        assert (await house.http.post("/v1/files", files={"file": b"x"})).status_code == 401
