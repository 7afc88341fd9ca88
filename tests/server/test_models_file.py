"""Changing models.yaml through the admin API: comments stay, nobody's change is lost, and it holds at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lanhaven.events import CatalogChanged, Failure
from lanhaven.models_file import Editor
from tests.disks import fill, small_disk
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

FILE = """\
# what we have

default_model: alpha   # the usual one
models:
  # ---- small ----
  - id: alpha            # the first
    provider: mock
    aliases: [first]
    defaults: {temperature: 0.5}   # not too wild

  # ---- large ----
  - {id: beta, provider: mock, ttl: 5m}
"""


async def post(house: House, what: str, body: dict[str, Any], status: int = 200) -> Any:
    reply = await house.http.post(f"/admin/models/{what}", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


@pytest.mark.req("S4-13", "S4-24", "C20")
async def test_an_entry_is_changed_in_its_place_and_holds_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, FILE) as house:
        changes = {
            "ttl": "30m",
            "aliases": ["first", "one"],
            "pinned": True,
            "defaults": {"topP": 0.9, "stopStrings": ["x"]},
        }
        answer = await post(house, "edit", {"modelKey": "alpha", "changes": changes | {"load": {"slots": 2}}})
        told = {"status": "changed", "modelKey": "alpha", "added": [], "removed": [], "changed": ["alpha"]}
        assert answer == told | {"file": str(tmp_path / "models.yaml")}
        text = (tmp_path / "models.yaml").read_text()
        assert [line for line in text.splitlines() if "#" in line] == [
            "# what we have",
            "default_model: alpha   # the usual one",
            "  # ---- small ----",
            "  - id: alpha            # the first",
            *[line for line in text.splitlines() if "not too wild" in line],
            "  # ---- large ----",
        ]
        info = house.services.catalog.get("alpha")
        assert info is not None
        assert info.sampling.said() == {"temperature": 0.5, "top_p": 0.9, "stop": ("x",)}
        assert (info.aliases, info.pinned, info.load.idle_ttl, info.load.slots) == (("first", "one"), True, 1800.0, 2)
        assert (await house.chat(model="one")).status_code == 200
        await post(house, "edit", {"modelKey": "alpha", "changes": {"defaults": {"temperature": None}, "ttl": None}})
        info = house.services.catalog.get("alpha")
        assert info is not None
        assert (info.sampling.temperature, info.sampling.top_p, info.load.idle_ttl) == (None, 0.9, None)


async def test_a_model_is_disabled_made_the_default_and_removed(tmp_path: Path) -> None:
    async with serving(tmp_path, FILE) as house:
        assert (await post(house, "edit", {"modelKey": "beta", "default": True}))["changed"] == []
        assert house.services.catalog.default_model == "beta"
        assert "- {id: beta, provider: mock, ttl: 5m}" in (tmp_path / "models.yaml").read_text()
        assert (await post(house, "edit", {"modelKey": "alpha", "changes": {"enabled": False}}))["removed"] == ["alpha"]
        assert (await house.chat(model="alpha")).status_code == 404
        assert (await post(house, "remove", {"modelKey": "beta"}))["removed"] == ["beta"]
        assert house.services.catalog.default_model is None
        assert "large" in (tmp_path / "models.yaml").read_text()
        await post(house, "remove", {"modelKey": "beta"}, 404)
        await post(house, "edit", {"modelKey": "nobody", "changes": {"pinned": True}}, 404)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"model_path": "/etc/passwd"}},
        {"provider": "command"},
        {"id": "other"},
        {"ttl": "soon"},
        {"aliases": ["default"]},
        {"load": {"contextLength": 10**9}},
        {"defaults": {"temperature": 7}},
    ],
)
async def test_what_may_not_be_is_refused_and_nothing_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with serving(tmp_path, FILE) as house:
        await post(house, "edit", {"modelKey": "alpha", "changes": changes}, 400)
        assert (tmp_path / "models.yaml").read_text() == FILE
        assert (await house.http.get("/debug/status")).json()["problems"] == []


@pytest.mark.req("F-172")
async def test_what_a_person_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    async with serving(tmp_path, FILE) as house:
        path.write_text(FILE.replace("ttl: 5m", "ttl: 9m"))
        times = []

        def change(models: Editor) -> None:
            models.update("alpha", {"pinned": True})
            times.append(models.text)
            if len(times) == 1:
                path.write_text(path.read_text().replace("# the first", "# the very first"))

        await house.services.reloading.edit(change)
        text = path.read_text()
        assert len(times) == 2
        for part in ("ttl: 9m", "# the very first", "pinned: true"):
            assert part in text
        info = house.services.catalog.get("beta")
        assert info is not None
        assert info.load.idle_ttl == 540.0


async def test_the_look_after_an_edit_takes_nothing_over_again(tmp_path: Path) -> None:
    async with serving(tmp_path, FILE) as house:
        await post(house, "edit", {"modelKey": "alpha", "changes": {"description": "for answers"}})
        for _ in range(3):
            await house.services.reloading.look()
        assert len(house.named(CatalogChanged)) == 1


async def test_a_model_of_another_server_is_added_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path, FILE) as house:
        body = {"modelKey": "far", "baseUrl": "http://127.0.0.1:9", "apiKey": "sk-secret", "model": "qwen"}
        answer = await post(house, "add", {**body, "description": "on the shelf"})
        assert (answer["status"], answer["added"]) == ("added", ["far"])
        text = (tmp_path / "models.yaml").read_text()
        assert text.startswith(FILE)
        for part in ("id: far", "provider: openai", "base_url: http://127.0.0.1:9", "api_key: sk-secret"):
            assert part in text
        info = house.services.catalog.get("far")
        assert info is not None
        assert (info.provider, info.description) == ("openai", "on the shelf")
        assert "sk-secret" not in (await house.http.get("/admin/models")).text
        text = (tmp_path / "models.yaml").read_text()
        await post(house, "add", body, 400)  # it is there already
        for wrong in ({"baseUrl": "file:///etc/passwd"}, {"provider": "command"}, {"modelKey": ""}):
            await post(house, "add", {**body, "modelKey": "other", **wrong}, 400)
        assert (tmp_path / "models.yaml").read_text() == text


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "64k") as folder:
        yield folder


@pytest.mark.req("F-173")
async def test_a_full_disk_keeps_the_file_and_the_server(tmp_path: Path, disk: Path) -> None:
    path = disk / "models.yaml"
    path.write_text(FILE)
    async with serving(tmp_path, FILE, models_file=path) as house:
        filler = fill(disk)
        body = {"modelKey": "alpha", "changes": {"description": "x" * 9000}}
        answer = await post(house, "edit", body, 507)
        assert answer["code"] == "storage_full"
        assert answer["hint"]
        assert path.read_text() == FILE
        assert names(disk) == [".models.yaml.lock", "filler", "models.yaml"]
        assert [(each.operation, each.code) for each in house.named(Failure)] == [("edit", "storage_full")]
        assert (await house.chat(model="alpha")).status_code == 200
        filler.unlink()
        await post(house, "edit", body)
