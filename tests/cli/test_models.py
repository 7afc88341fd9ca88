"""`ls`, `ps`, `show`, `status`: tables, tabs, JSON."""

from __future__ import annotations

import pytest

from tests.cli.conftest import HEALTH, MODELS, STATUS, instance, model
from tests.cli.scripted import Cli, Scripted


def test_ls_in_a_pipe_is_tab_separated_raw_values_without_heading(cli: Cli) -> None:
    done = cli("ls")
    assert done.status == 0
    assert done.rows[0] == ["smollm2", "llm", "llama_cpp", "98362432", "8192", "Q4_1", "loaded", "tiny"]
    assert [row[0] for row in done.rows] == ["smollm2", "org/qwen3-8b", "broken"]
    assert done.rows[1][4] == ""
    assert done.rows[2][6] == "unavailable: the file is cut off"


def test_ls_on_a_terminal_is_a_table_for_people(cli: Cli) -> None:
    done = cli.on_terminal("ls", NO_COLOR="1")
    assert done.status == 0
    lines = done.lines
    assert lines[0].split() == ["MODEL", "TYPE", "PROVIDER", "SIZE", "CONTEXT", "QUANT", "STATE", "ALIASES"]
    assert lines[1].split()[:7] == ["smollm2", "●", "llm", "llama_cpp", "98.4", "MB", "8,192"]


def test_no_color_leaves_no_colour(cli: Cli) -> None:
    assert "\x1b[3" not in cli.on_terminal("status", NO_COLOR="1").out
    assert "\x1b[" in cli.on_terminal("status").out


def test_json_is_the_servers_own_list(cli: Cli) -> None:
    assert cli("ls", "--json").json == MODELS["downloaded"]
    assert cli("ps", "--json").json == MODELS["loaded"]
    assert cli("models", "--json").json == MODELS["downloaded"]


def test_ls_filters(cli: Cli) -> None:
    assert [each["path"] for each in cli("ls", "--provider", "openai", "--json").json] == ["org/qwen3-8b"]
    assert [each["path"] for each in cli("ls", "--loaded", "--json").json] == ["smollm2"]


def test_ps_shows_who_is_busy_and_until_when(cli: Cli, server: Scripted) -> None:
    loaded = [
        instance("small", "smollm2", active=True),
        instance("big", "org/qwen3-8b", state="loading", progress=0.42, busy=0, expiresInSeconds=None),
        instance("keep", "org/qwen3-8b", pinned=True, busy=0, expiresInSeconds=None),
    ]
    server.says("GET", "/admin/models", {**MODELS, "loaded": loaded})
    lines = cli.on_terminal("ps", NO_COLOR="1").lines
    assert " ".join(lines[1].split()) == "smollm2 ● small llama_cpp ready 128 MB 8,192 1/4 0 29 min"
    assert "loading 42%" in lines[2]
    assert lines[3].rstrip().endswith("pinned")
    assert cli("ps").rows[0] == ["smollm2", "small", "llama_cpp", "ready", "128000000", "8192", "1", "0", "1740"]


def test_nothing_in_memory_is_a_message_and_no_data(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/admin/models", {**MODELS, "loaded": []})
    done = cli("ps")
    assert (done.status, done.out) == (0, "")
    assert "no model is in memory" in done.err


def test_ps_watch_in_a_pipe_wants_json(cli: Cli) -> None:
    done = cli("ps", "--watch")
    assert done.status == 2
    assert "Try  lanhaven ps --watch --json" in done.err


def test_ps_watch_draws_again_until_interrupted(cli: Cli, server: Scripted) -> None:
    with cli.terminal("ps", "--watch") as terminal:
        terminal.until("smollm2")
        server.says("GET", "/admin/models", {**MODELS, "loaded": [instance("other", "org/qwen3-8b")]})
        terminal.until("qwen3-8b")
        terminal.interrupt()
        assert terminal.finish().status == 130


ESTIMATE = {
    "modelKey": "smollm2",
    "neededBytes": 300_000_000,
    "learnt": False,
    "parts": None,
    "availableBytes": 5_600_000_000,
    "evictableBytes": 0,
    "fits": True,
    "verdict": "fits",
    "contextLength": 8192,
    "slots": 4,
    "largestContextLength": None,
    "suggestedContextLength": None,
    "ignored": [],
}


@pytest.mark.parametrize("name", ["smollm2", "tiny", "small", "smollm2:latest"])
def test_show_takes_key_alias_instance_and_tag(cli: Cli, server: Scripted, name: str) -> None:
    server.says("POST", "/admin/models/estimate", ESTIMATE)
    shown = cli("show", name, "--json").json
    assert shown["model"]["path"] == "smollm2"
    assert [each["identifier"] for each in shown["instances"]] == ["small"]
    assert shown["estimate"]["fits"] is True


def test_show_tells_whether_it_fits(cli: Cli, server: Scripted) -> None:
    tight = {**ESTIMATE, "fits": False, "neededBytes": 9_000_000_000, "suggestedContextLength": 2048}
    server.says("POST", "/admin/models/estimate", tight)
    fields = dict(cli("show", "smollm2").rows)
    assert fields["memory needed"] == "about 9.0 GB"
    assert fields["memory free"] == "5.6 GB"
    assert fields["fits"] == "no; --context 2048 would"


def test_show_of_a_model_that_cannot_run_tells_why_and_asks_no_estimate(cli: Cli, server: Scripted) -> None:
    fields = dict(cli("show", "broken").rows)
    assert fields["cannot run"] == "the file is cut off"
    assert not server.bodies("/admin/models/estimate")


def test_show_of_an_unknown_model_names_those_spelled_alike(cli: Cli) -> None:
    done = cli("show", "smolm2")
    assert done.status == 5
    assert "did you mean smollm2?" in done.err
    assert done.err.splitlines()[-1].strip() == "Try  lanhaven ls"


def test_a_models_name_cannot_steer_the_terminal_or_break_the_columns(cli: Cli, server: Scripted) -> None:
    evil = model("a\x1b[2Jb\tc\nd")
    server.says("GET", "/admin/models", {"loaded": [], "downloaded": [evil]})
    assert cli("ls").rows[0][0] == "a[2Jb c d"
    assert "\x1b[2J" not in cli.on_terminal("ls", NO_COLOR="1").out


@pytest.mark.req("S0-59", "S0-91")
def test_status(cli: Cli, server: Scripted) -> None:
    fields = dict(cli("status").rows)
    assert fields["server"] == server.url
    assert fields["state"] == "idle"
    assert fields["up for"] == "1 h"
    assert fields["active model"] == "smollm2 (small)"
    assert fields["llama_cpp"] == "ok: 2 threads"
    assert cli("status", "--json").json == {"url": server.url, "pid": None, "health": HEALTH, "status": STATUS}


def test_status_while_loading(cli: Cli, server: Scripted) -> None:
    operation = {"type": "model_load", "modelKey": "smollm2", "instanceId": "x", "progress": 0.5, "stage": "weights"}
    nothing = {"modelKey": None, "instanceId": None, "defaultInference": None}
    busy = {**STATUS, "status": "loading_model", "currentOperation": operation, "activeModel": nothing}
    server.says("GET", "/debug/status", busy)
    fields = dict(cli("status").rows)
    assert fields["now"] == "model load smollm2 50%"
    assert fields["active model"] == "none"


def test_an_empty_list_says_what_there_is(cli: Cli) -> None:
    done = cli("ls", "--provider", "vllm")
    assert (done.status, done.out) == (0, "")
    assert done.err == "no model of the provider vllm; there are models of llama_cpp, openai\n"
    assert "no such model is in memory" in cli("ls", "--provider", "openai", "--loaded").err
