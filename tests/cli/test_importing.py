"""`import`: what it asks for, what it tells, what it writes. What it finds is tests/importer's."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.models_file import read
from tests.cli.scripted import Cli, Scripted
from tests.cli.test_failures import tries
from tests.cli.test_finding import leave_note
from tests.importer.trees import hf, model, ollama, put


@pytest.fixture
def full(alone: Cli) -> Cli:
    """A home with a folder, a hub's cache and Ollama's store; a model each."""
    put(alone.home / "zoo/one-Q4_K_M.gguf", model("one"))
    put(alone.home / "zoo/bad.gguf", b"no model")
    hf(alone.home / ".cache/huggingface/hub", "org/two", {"two.gguf": model("two")})
    ollama(alone.home / ".ollama/models", "three:1b", {"model": model("three")})
    return alone


def names(path: Path) -> list[str]:
    return [entry.id for entry in read(path).entries]


@pytest.mark.req("S4-05", "S4-x2")
def test_a_folder_into_a_new_file(full: Cli) -> None:
    done = full("import", "--folder", "zoo", "--output", "my_models.yaml")
    assert done.status == 0
    path = full.home / "my_models.yaml"
    assert names(path) == ["one-q4_k_m"]
    assert not read(path).entries[0].enabled
    assert done.rows[0][:5] == [
        "one-q4_k_m",
        "gguf",
        str((full.home / "zoo/one-Q4_K_M.gguf").stat().st_size),
        "Q4_K_M",
        "new",
    ]
    assert "bad.gguf: The file is not a GGUF model" in done.err
    assert f"lanhaven up --models {path}" in done.err
    assert "--enable" in done.err


@pytest.mark.req("S4-06")
def test_one_store(full: Cli) -> None:
    assert full("import", "--hf-cache").status == 0
    assert names(full.home / "models_imported.yaml") == ["org/two:Q4_K_M"]
    document = full("import", "--ollama", "-o", "o.yaml", "--json").json
    assert [each["id"] for each in document["models"]] == ["three:1b"]
    assert document | {"models": 0, "entriesLookedAt": 0} == {
        "output": str(full.home / "o.yaml"), "written": True, "models": 0, "leftOut": [], "notes": [],
        "entriesLookedAt": 0, "serverTold": False,
    }  # fmt: skip


@pytest.mark.req("S4-x2")
def test_without_a_source_all_stores_of_the_machine(full: Cli) -> None:
    done = full("import", "--merge", "--enable", "--profile", "fast", "--override", "max_tokens=9")
    assert done.status == 0
    entries = read(full.home / ".config/lanhaven/models.yaml").entries
    assert {entry.id for entry in entries} == {"three:1b", "org/two:Q4_K_M"}
    assert all(entry.enabled for entry in entries)
    assert {(entry.sampling.temperature, entry.sampling.max_tokens) for entry in entries} == {(0.3, 9)}


def test_a_dry_run_shows_the_difference_and_writes_nothing(full: Cli) -> None:
    done = full("import", "--folder", "zoo", "--merge", "--dry-run")
    assert done.status == 0
    assert "+  - id: one-q4_k_m" in done.lines
    assert not (full.home / ".config/lanhaven/models.yaml").exists()
    assert "1 would be added" in done.err


def test_a_running_server_is_told(full: Cli, server: Scripted) -> None:
    server.says("POST", "/admin/models/refresh", {})
    leave_note(full.home, server.url)
    assert full("import", "--folder", "zoo", "--merge", "--json").json["serverTold"]
    assert full("import", "--folder", "zoo", "--merge", "--json").json["serverTold"] is False  # nothing new
    assert len(server.bodies("/admin/models/refresh")) == 1


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (("--folder", "nowhere"), 5, "no folder nowhere"),
        (("--lmstudio",), 5, "no lmstudio folder"),
        (("--folder", "empty"), 5, "no model in"),
        (("--folder", "zoo", "--profile", "quick"), 2, "no profile 'quick'"),
        (("--folder", "zoo", "--override", "wings=2"), 2, "wings is not known"),
        (("--folder", "zoo", "--log-level", "LOUD"), 2, "no level 'LOUD'"),
        (("--folder", "zoo", "-o", "mine.yaml"), 2, "something else in it"),
    ],
)
def test_what_is_refused(full: Cli, words: tuple[str, ...], status: int, part: str) -> None:
    (full.home / "empty").mkdir()
    put(full.home / "mine.yaml", "models: []\n")
    done = full("import", *words)
    assert done.status == status
    assert part in done.err
    assert tries(done)


def test_a_machine_without_any_store(alone: Cli) -> None:
    done = alone("import")
    assert done.status == 5
    assert "--folder" in done.err


@pytest.mark.req("S4-x2")
def test_log_levels(full: Cli) -> None:
    for number in range(12):
        put(full.home / f"zoo/bad{number}.gguf", b"")
    shown = {level: full("import", "--folder", "zoo", "--log-level", level).err for level in ("INFO", "debug", "ERROR")}
    assert shown["INFO"].count("left out: ") == 10
    assert "3 more were left out" in shown["INFO"]
    assert shown["debug"].count("left out: ") == 13
    assert shown["ERROR"] == ""


def test_progress_on_a_terminal(full: Cli) -> None:
    done = full.on_terminal("import", "--folder", "zoo")
    assert done.status == 0
    assert "looking for models" in done.out
    assert any(line.startswith("MODEL") for line in done.lines)


def test_nothing_found_as_json(alone: Cli) -> None:
    (alone.home / "empty").mkdir()
    done = alone("import", "--folder", "empty", "--json")
    assert (done.status, done.json["models"], done.json["written"]) == (5, [], False)
