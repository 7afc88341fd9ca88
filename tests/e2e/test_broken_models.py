"""Files that are no models beside one that is: each says what is wrong with it, and disturbs nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, running, until

# Key -> what the reason must speak of.
BROKEN = {
    "cut": "cut|end|bytes|truncated|short|incomplete",
    "cut-header": "cut|end|bytes|truncated|short|incomplete",
    "text": "GGUF",
    "empty": "empty|GGUF|end|bytes",
    "missing": "no file|not found|No such|does not exist",
    "folder": "folder|directory",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[HouseProcess]:
    home = tmp_path_factory.mktemp("broken")
    secret = home / "secret-place"
    secret.mkdir()
    data = smollm2.read_bytes()
    (secret / "cut.gguf").write_bytes(data[: len(data) // 2])
    (secret / "cut-header.gguf").write_bytes(data[:3000])
    (secret / "text.gguf").write_text("This is not a model.\n" * 100)
    (secret / "empty.gguf").touch()
    (secret / "folder.gguf").mkdir()
    models = "default_model: good\nmodels:\n" + entry("good", smollm2, "{contextLength: 512, slots: 1}")
    models += "".join(entry(key, secret / f"{key}.gguf") for key in BROKEN)
    models += entry("misspelt", smollm2, config="n_cxt: 512")
    with running(home, models) as house:
        yield house


def told(reply: Any) -> str:
    """The message of an error reply of either kind."""
    error = reply.json()["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.req("F-014", "S4-21")
@pytest.mark.parametrize("key", [*BROKEN, "misspelt"])
def test_it_says_what_is_wrong_wherever_it_is_asked_for(house: HouseProcess, key: str) -> None:
    listed = {each["path"]: each for each in house.get("/admin/models")["downloaded"]}[key]
    assert listed["available"] is False
    reason = listed["unavailableReason"]
    word = BROKEN.get(key, "n_ctx")
    assert any(each in reason for each in word.split("|")), reason
    assert house.get(f"/v1/models/{key}")["status"] not in ("ready", "unloaded")
    before = house.engines()
    load = house.http.post("/admin/models/load", json={"modelKey": key})
    chat = house.chat("Hello", model=key)
    for reply in (load, chat):
        assert reply.status_code in (500, 503)
        assert reason.rstrip(".") in told(reply)
        assert "secret-place" not in reply.text
        assert "/" not in told(reply).replace("and/or", "")
        assert reply.headers["x-should-retry"] == "false", "the same file would be no better in a second"
    assert "secret-place" not in json.dumps(house.get("/v1/models"))
    assert house.engines() == before


@pytest.mark.req("F-066")
def test_the_good_one_works(house: HouseProcess) -> None:
    assert house.chat("Hello", model="cut").status_code >= 500
    reply = house.chat("Hello", max_tokens=2)
    assert (reply.status_code, reply.json()["model"]) == (200, "good")


def test_the_start_tells_of_them(house: HouseProcess) -> None:
    untold = {*BROKEN, "misspelt"}
    until(lambda: not {key for key in untold if f"\n  ! {key} " not in house.log}, f"a line for each of {untold}")


@pytest.mark.req("S4-24")
def test_a_file_that_was_repaired_works_without_a_restart(house: HouseProcess, smollm2: Path) -> None:
    path = house.home / "secret-place" / "missing.gguf"
    path.symlink_to(smollm2)
    assert house.post("/admin/models/refresh")["status"] == "refreshed"
    try:
        assert house.chat("Hello", model="missing", max_tokens=2).status_code == 200
    finally:
        path.unlink()
        house.unload("missing")
        house.post("/admin/models/refresh")


def test_a_file_that_breaks_after_the_start(house: HouseProcess, smollm2: Path) -> None:
    path = house.home / "secret-place" / "missing.gguf"
    path.symlink_to(smollm2)
    house.post("/admin/models/refresh")
    path.unlink()
    path.write_text("no model any more")
    for reply in (
        house.chat("Hello", model="missing"),
        house.http.post("/admin/models/load", json={"modelKey": "missing"}),
    ):
        assert reply.status_code == 500
        assert "GGUF" in told(reply)
        assert "secret-place" not in reply.text
    path.unlink()
    house.post("/admin/models/refresh")
