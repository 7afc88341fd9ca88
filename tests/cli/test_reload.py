"""`reload`, and what other commands say of a models.yaml that has changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import MODELS, STATUS
from tests.cli.scripted import Cli, Scripted

ANSWER: dict[str, Any] = {
    "status": "refreshed",
    "models": 3,
    "added": ["qwen3"],
    "removed": ["old"],
    "changed": ["small", "large"],
    "problems": ["lmstudio: its models could not be listed: it is down"],
}
PROBLEM = "models.yaml:4: models[0].provder is not known; what it said before still holds"


def test_it_tells_what_has_changed(cli: Cli, server: Scripted) -> None:
    server.says("POST", "/admin/models/refresh", ANSWER)
    done = cli("reload")
    assert done.rows == [["added", "qwen3"], ["changed", "small"], ["changed", "large"], ["removed", "old"]]
    assert "it is down" in done.err
    assert cli("reload", "--json").json == ANSWER


def test_it_says_so_if_nothing_has(cli: Cli, server: Scripted) -> None:
    server.says("POST", "/admin/models/refresh", ANSWER | {"added": [], "removed": [], "changed": []})
    done = cli("reload")
    assert (done.status, done.rows) == (0, [])
    assert "nothing has changed: 3 models" in done.err


@pytest.mark.req("F-172")
def test_a_wrong_file_is_told_with_its_line(cli: Cli, server: Scripted) -> None:
    server.says(
        "POST", "/admin/models/refresh", {"error": PROBLEM, "code": "invalid_request", "hint": "correct it"}, 400
    )
    done = cli("reload")
    assert done.status == 1
    assert "models.yaml:4" in done.err


@pytest.mark.req("F-172")
def test_status_and_doctor_show_what_the_server_could_not_take_over(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/debug/status", STATUS | {"problems": [PROBLEM]})
    assert ["problem", PROBLEM] in cli("status").rows
    found = [each for each in cli("doctor", "--json").json if each["check"] == "models"]
    assert [(each["level"], each["text"], each["remedy"]) for each in found] == [
        ("warn", PROBLEM, "lanhaven config check")
    ]


def test_ps_says_which_instance_would_be_loaded_otherwise_now(cli: Cli, server: Scripted) -> None:
    loaded = [each | {"reloadNeeded": True} for each in MODELS["loaded"]]
    server.says("GET", "/admin/models", MODELS | {"loaded": loaded})
    assert any("ready, reload needed" in line for line in cli.on_terminal("ps").lines)
