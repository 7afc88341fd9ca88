"""`models-sync`: the list, its file, and what is verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.scripted import Cli, Scripted
from tests.cli.test_failures import tries


def model(name: str, status: str | None = "unloaded") -> dict[str, Any]:
    card = {"id": name, "object": "model", "owned_by": "llama_cpp", "kind": "llm", "max_context_length": 8192}
    return card if status is None else {**card, "status": status}


LISTED = {"object": "list", "data": [model("smollm2", "ready"), model("qwen3"), model("broken", "error")]}


@pytest.fixture
def syncing(server: Scripted) -> Scripted:
    server.says("GET", "/v1/models", LISTED)
    return server


def kept(home: Path) -> Any:
    return json.loads((home / ".cache/lanhaven/models.json").read_text())


@pytest.mark.req("S3-35", "S3-x8")
def test_the_list_is_shown_and_kept(cli: Cli, syncing: Scripted) -> None:
    assert cli("models-sync").rows == [
        ["smollm2", "ready", "llm", "llama_cpp", "8192"],
        ["qwen3", "unloaded", "llm", "llama_cpp", "8192"],
        ["broken", "error", "llm", "llama_cpp", "8192"],
    ]
    assert (kept(cli.home)["url"], kept(cli.home)["models"]) == (syncing.url, LISTED["data"])


@pytest.mark.req("S3-x8")
def test_as_json(cli: Cli, syncing: Scripted) -> None:
    answer = cli("models-sync", "--json").json
    assert Path(answer.pop("file")).name == "models.json"
    assert answer == kept(cli.home)


@pytest.mark.req("S3-35")
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("smollm2", "qwen3"), 0),
        (("smollm2", "--ready"), 0),
        (("--ready",), 0),
        (("smolm2",), 5),
        (("broken",), 6),
        (("qwen3", "--ready"), 6),
    ],
)
def test_models_are_verified(cli: Cli, syncing: Scripted, words: tuple[str, ...], status: int) -> None:
    done = cli("models-sync", *words)
    assert done.status == status
    assert len(done.rows) == 3
    assert status == 0 or tries(done)


@pytest.mark.req("S3-35")
def test_nothing_ready(cli: Cli, syncing: Scripted) -> None:
    syncing.says("GET", "/v1/models", {"data": [model("qwen3", None)]})
    assert cli("models-sync").rows == [["qwen3", "", "llm", "llama_cpp", "8192"]]
    done = cli("models-sync", "--ready")
    assert (done.status, "no model is ready" in done.err) == (6, True)


def test_a_server_that_lists_no_models_leaves_the_file_as_it_was(cli: Cli, syncing: Scripted) -> None:
    cli("models-sync")
    syncing.says("GET", "/v1/models", {"error": "Unexpected endpoint"})
    assert cli("models-sync").status == 1
    assert kept(cli.home)["models"] == LISTED["data"]
