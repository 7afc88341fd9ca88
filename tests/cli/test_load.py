"""`load`, `unload`, `activate`."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.cli.conftest import MODELS, instance
from tests.cli.scripted import Asked, Cli, Handler, Scripted
from tests.cli.test_failures import tries

LOAD = "/admin/models/load"
LOADED = {
    "status": "loaded",
    "modelKey": "smollm2",
    "instanceId": "small",
    "activated": True,
    "totalTimeMs": 712,
    "message": "Model loaded successfully",
    "loadConfig": {"contextLength": 4096},
    "applied": {"contextLength": 4096},
    "ignored": [],
    "reused": False,
    "sizeBytes": 128_000_000,
}
TOO_LARGE = {
    "error": "not enough memory",
    "code": "insufficient_memory",
    "neededBytes": 24_100_000_000,
    "availableBytes": 15_800_000_000,
    "largestContext": 8192,
}
ESTIMATE = {
    "modelKey": "smollm2",
    "neededBytes": 24_100_000_000,
    "learnt": False,
    "parts": {
        "weights": 20_000_000_000,
        "projector": 0,
        "kv": 4_000_000_000,
        "compute": 0,
        "promptCache": 0,
        "engine": 10**8,
    },
    "availableBytes": 15_800_000_000,
    "evictableBytes": 0,
    "fits": False,
    "verdict": "does_not_fit",
    "contextLength": 32768,
    "slots": 1,
    "largestContextLength": 8192,
    "suggestedContextLength": 8192,
    "ignored": [],
}


@pytest.mark.req("S0-09", "S0-28")
def test_the_shortest_load(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, LOADED)
    done = cli("load", "smollm2")
    assert done.status == 0
    assert server.bodies(LOAD) == [{"modelKey": "smollm2", "loadConfig": {}, "activate": True}]
    assert "smollm2 (small) loaded in 0.7 s, active (128 MB, context 4,096)" in done.err
    assert done.out == "small\n", "in a pipe the instance is the data"


@pytest.mark.req("S0-10", "S0-12", "S0-14", "S0-15", "S0-16", "S0-17", "S0-21", "S0-22", "S0-26")
def test_every_option_reaches_the_server(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, LOADED)
    options = ["--as", "b", "--context", "4096", "--gpu", "24", "--threads", "2", "--slots", "3"]
    settings = ["--set", "temperature=0.2", "--set", "max_tokens=100", "--set", "stop=END", "--set", "stop=STOP"]
    assert cli("load", "smollm2", *options, "--ttl", "1h30m", "--no-activate", "--force", *settings).status == 0
    assert server.bodies(LOAD) == [
        {
            "modelKey": "smollm2",
            "instanceId": "b",
            "loadConfig": {"contextLength": 4096, "gpu": {"layers": 24}, "cpuThreads": 2, "slots": 3},
            "ttlSeconds": 5400.0,
            "defaultInference": {"temperature": 0.2, "maxTokens": 100, "stopStrings": ["END", "STOP"]},
            "activate": False,
            "force": True,
        }
    ]


@pytest.mark.parametrize(
    ("text", "gpu"),
    [
        ("max", {"ratio": 1.0}),
        ("off", {"ratio": 0.0}),
        ("0.5", {"ratio": 0.5}),
        ("1.0", {"ratio": 1.0}),
        ("1", {"layers": 1}),
    ],
)
def test_gpu(cli: Cli, server: Scripted, text: str, gpu: dict[str, Any]) -> None:
    server.says("POST", LOAD, LOADED)
    cli("load", "smollm2", "--gpu", text)
    assert server.bodies(LOAD)[0]["loadConfig"] == {"gpu": gpu}


def test_what_was_ignored_is_told(cli: Cli, server: Scripted) -> None:
    ignored = [{"key": "gpu.ratio", "reason": "this machine has no GPU"}]
    server.says("POST", LOAD, {**LOADED, "ignored": ignored})
    assert "note: gpu.ratio was ignored: this machine has no GPU" in cli("load", "smollm2", "--gpu", "max").err


def test_json_is_the_servers_reply(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, LOADED)
    assert cli("load", "smollm2", "--json").json == LOADED


def test_reused(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, {**LOADED, "reused": True})
    assert "smollm2 (small) was loaded already" in cli("load", "smollm2").err


def test_the_progress_bar_shows_stage_and_bytes(cli: Cli, server: Scripted) -> None:
    loading = instance("small", "smollm2", state="loading", progress=0.5, stage="weights", sizeBytes=200_000_000)
    server.says("GET", "/admin/models", {**MODELS, "loaded": [loading]})

    def load(handler: Handler, asked: Asked) -> None:
        assert server.reached.wait(30)
        handler.reply(200, LOADED)

    server.does("POST", LOAD, load)
    with cli.terminal("load", "smollm2") as terminal:
        terminal.until("loading smollm2 · weights")
        terminal.until("100 MB of 200 MB")
        server.reached.set()
        done = terminal.finish()
    assert done.status == 0
    assert done.lines[-1] == "smollm2 (small) loaded in 0.7 s, active (128 MB, context 4,096)"


@pytest.mark.parametrize("terminal", [False, True])
def test_ctrl_c_closes_the_connection_of_the_load(cli: Cli, server: Scripted, terminal: bool) -> None:
    def load(handler: Handler, asked: Asked) -> None:
        server.reached.set()
        handler.wait_for_leaving()

    server.does("POST", LOAD, load)
    if terminal:
        with cli.terminal("load", "smollm2") as seen:
            assert server.reached.wait(30)
            seen.interrupt()
            done = seen.finish()
        status, text = done.status, done.out
    else:
        process = cli.start("load", "smollm2")
        assert server.reached.wait(30)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=30)
        status = process.returncode
    assert status == 130
    assert "stopped: smollm2 is not loaded" in text
    assert server.left.wait(30), "the server learns of it by the closed connection"


SIZES = {"too-small": 5_600_000_000, "enough": 9_000_000_000, "more": 12_000_000_000}


def test_6_does_not_fit_names_the_ways_out(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, TOO_LARGE, 503)
    idle = [instance(name, "org/qwen3-8b", busy=0, sizeBytes=size) for name, size in SIZES.items()]
    server.says("GET", "/admin/models", {**MODELS, "loaded": idle})
    done = cli("load", "smollm2", "--context", "32768")
    assert done.status == 6
    assert "error: smollm2 does not fit: needs about 24.1 GB, 15.8 GB are free" in done.err
    assert tries(done) == ["lanhaven load smollm2 --context 8192", "lanhaven unload enough    (frees 9.0 GB)"]


def test_6_a_busy_model_is_not_offered_for_unloading(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, {**TOO_LARGE, "largestContext": None, "hint": "free some memory"}, 503)
    done = cli("load", "smollm2")
    assert done.status == 6
    assert tries(done) == ["free some memory"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "load_failed"), (502, "engine_crashed"), (504, "engine_hung"), (503, "upstream_unreachable")],
)
def test_6_load_failed(cli: Cli, server: Scripted, status: int, code: str) -> None:
    server.says("POST", LOAD, {"error": "tensor is cut off", "code": code}, status)
    done = cli("load", "smollm2")
    assert done.status == 6
    assert "error: tensor is cut off" in done.err
    assert tries(done)


@pytest.mark.req("S0-75", "C8")
def test_5_unknown_model(cli: Cli, server: Scripted) -> None:
    text = "Model not found: smolm2"
    server.says("POST", LOAD, {"status": "not_found", "modelKey": "smolm2", "message": text, "error": text}, 404)
    done = cli("load", "smolm2")
    assert done.status == 5
    assert "no model named 'smolm2'; did you mean smollm2?" in done.err
    assert tries(done) == ["lanhaven ls"]


@pytest.mark.req("S1-27")
def test_1_the_name_is_taken(cli: Cli, server: Scripted) -> None:
    server.says("POST", LOAD, {"error": "Model already loaded: smollm2", "code": "instance_conflict"}, 409)
    done = cli("load", "smollm2", "--as", "small", "--context", "1024")
    assert done.status == 1
    assert tries(done) == ["lanhaven load smollm2 --as small-2", "lanhaven unload small"]


def test_estimate_loads_nothing_and_its_status_tells_whether_it_fits(cli: Cli, server: Scripted) -> None:
    server.says("POST", "/admin/models/estimate", ESTIMATE)
    done = cli("load", "smollm2", "--estimate")
    assert done.status == 6
    told = dict(done.rows)
    assert told["memory needed"] == "about 24.1 GB"
    assert told["computed as"] == "weights 20.0 GB + KV cache 4.0 GB + engine 100 MB"
    assert told["fits"] == "no; --context 8192 would"
    assert told["longest that fits"] == "8,192"
    assert not server.bodies(LOAD)
    fits = {"fits": True, "verdict": "fits", "suggestedContextLength": None}
    server.says("POST", "/admin/models/estimate", {**ESTIMATE, **fits})
    done = cli("load", "smollm2", "--estimate", "--json")
    assert done.status == 0
    assert done.json["fits"] is True


def test_an_estimate_tells_what_it_knows_and_from_where(cli: Cli, server: Scripted) -> None:
    known = {"learnt": True, "fits": True, "verdict": "fits_after_eviction", "evictableBytes": 9_000_000_000}
    server.says("POST", "/admin/models/estimate", {**ESTIMATE, **known, "parts": None, "largestContextLength": None})
    told = dict(cli("load", "smollm2", "--estimate").rows)
    assert told["memory needed"] == "24.1 GB, as the last load took"
    assert told["can be freed"] == "9.0 GB"
    assert told["fits"] == "yes, when others have left"
    assert not {"computed as", "longest that fits"} & set(told)
    server.says("POST", "/admin/models/estimate", {**ESTIMATE, **known, "neededBytes": 0, "learnt": False})
    assert dict(cli("load", "smollm2", "--estimate").rows)["memory needed"].startswith("none of the server's machine")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("fits", "yes, with the context that it takes"),
        ("fits_after_eviction", "yes, with the context that it takes, when others have left"),
    ],
)
def test_an_estimate_of_more_context_than_the_model_takes_says_so(
    cli: Cli, server: Scripted, verdict: str, expected: str
) -> None:
    ignored = [{"key": "contextLength", "reason": "the model takes 8192 tokens at most"}]
    asked = {"contextLength": 8192, "fits": True, "verdict": verdict, "suggestedContextLength": None}
    server.says("POST", "/admin/models/estimate", {**ESTIMATE, **asked, "ignored": ignored})
    done = cli("load", "tiny", "--estimate", "--context", "99999")
    assert (done.status, done.err) == (0, "note: contextLength is ignored: the model takes 8192 tokens at most\n")
    told = dict(done.rows)
    assert (told["context"], told["fits"]) == ("8,192", expected)


def unloaded(handler: Handler, asked: Asked) -> None:
    body = asked.body
    handler.reply(200, {"status": "unloaded", "instanceId": None, **body, "totalTimeMs": 234, "message": "gone"})


UNLOAD = "/admin/models/unload"


@pytest.mark.req("S0-32")
def test_unload_by_model_by_instance_and_all(cli: Cli, server: Scripted) -> None:
    loaded = [instance("small", "smollm2"), instance("big", "org/qwen3-8b")]
    server.says("GET", "/admin/models", {**MODELS, "loaded": loaded})
    server.does("POST", UNLOAD, unloaded)
    assert "smollm2 unloaded in 0.2 s" in cli("unload", "smollm2").err
    assert "org/qwen3-8b (big) unloaded" in cli("unload", "big", "--force").err
    assert len(cli("unload", "--all", "--json").json) == 2
    assert server.bodies(UNLOAD) == [
        {"modelKey": "smollm2", "force": False},
        {"modelKey": "org/qwen3-8b", "instanceId": "big", "force": True},
        {"modelKey": "smollm2", "instanceId": "small", "force": False},
        {"modelKey": "org/qwen3-8b", "instanceId": "big", "force": False},
    ]


def test_unload_all_of_nothing(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/admin/models", {**MODELS, "loaded": []})
    done = cli("unload", "--all")
    assert done.status == 0
    assert "nothing is in memory" in done.err


def test_unload_of_what_is_not_loaded_is_5(cli: Cli, server: Scripted) -> None:
    server.says("POST", UNLOAD, {"status": "not_found", "modelKey": "broken", "message": "Model not found"}, 404)
    done = cli("unload", "broken")
    assert done.status == 5
    assert "error: broken is not in memory" in done.err


@pytest.mark.req("S0-35", "S0-37")
def test_activate_merges_the_defaults_that_are_set(cli: Cli, server: Scripted) -> None:
    reply = {
        "status": "activated",
        "modelKey": "smollm2",
        "instanceId": "small",
        "defaultInference": {"temperature": 0.2},
    }
    server.says("POST", "/admin/models/activate", reply)
    done = cli("activate", "small", "--set", "temperature=0.2")
    assert done.status == 0
    assert "smollm2 (small) is active (temperature=0.2)" in done.err
    sent = {"modelKey": "smollm2", "instanceId": "small", "defaultInference": {"temperature": 0.2}, "merge": True}
    assert server.bodies("/admin/models/activate") == [sent]
    cli("activate", "smollm2")
    assert server.bodies("/admin/models/activate")[1] == {"modelKey": "smollm2"}


def test_activate_of_what_is_not_loaded_says_how_to_load_it(cli: Cli, server: Scripted) -> None:
    server.says("POST", "/admin/models/activate", {"error": "Model not found: broken", "status": "not_found"}, 404)
    done = cli("activate", "broken")
    assert done.status == 5
    assert tries(done)[0] == "lanhaven load broken"
