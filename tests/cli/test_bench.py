"""`lanhaven bench`, against a running server with scripted models, and once with a real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanhaven import runfile
from lanhaven.cli.bench_figures import Level, Sample, percentile
from lanhaven.cli.failure import Exit
from tests.cli.scripted import Cli, Scripted
from tests.cli.test_failures import tries
from tests.cli.test_real_server import running

MODELS = """\
models:
  - {id: talker, provider: mock, config: {slots: 2}}
  - {id: brief, provider: mock, aliases: [short], config: {context_length: 200}}
  - {id: vectors, provider: mock, config: {kind: embedding}}
  - {id: judge, provider: mock, config: {kind: reranker}}
  - {id: fragile, provider: mock, config: {crash_after: 4}}
  - {id: bad, provider: mock, config: {fail_load: tensor is cut off}}
  - {id: endless, provider: mock, config: {answer: count, tokens: 100000, interval_ms: 20}}
"""
FEW = ("--prompt-tokens", "60", "--tokens", "12", "-n", "3")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line beside a server that only its run file tells of; `talker` is in memory."""
    cli = Cli(tmp_path_factory.mktemp("bench"))
    (cli.home / "models.yaml").write_text(MODELS)
    with running(cli, "--provider", "mock"):
        assert cli("load", "talker").status == 0
        yield cli


def test_a_line_for_each_number_at_once(house: Cli) -> None:
    done = house("bench", "talker", "--concurrency", "1,4", *FEW)
    assert done.status == 0
    assert done.err.splitlines() == [
        "talker · mock · context 8,192 · 2 slots",
        "prompts of 60 tokens, answers of 12",
        "note: talker computes 2 at once: with 4 the others wait for their turn, and this is measured with them",
        "warming up",
        "1 at once",
        "4 at once",
    ]
    assert [(row[0], row[1], row[-1]) for row in done.rows] == [("1", "3", "0"), ("4", "3", "0")]
    assert all(float(cell) > 0 for row in done.rows for cell in row[2:-1])


def test_json_has_all_that_was_asked_and_counted(house: Cli) -> None:
    told = house("bench", "short", "--json", *FEW).json
    assert told["model"] == "short"
    assert (told["type"], told["provider"], told["instances"]) == ("llm", "mock", ["brief"])
    assert (told["contextLength"], told["promptTokens"], told["tokens"]) == (200, 60, 12)
    assert told["loadSeconds"] > 0
    assert told["complete"] is True
    for level in told["levels"]:
        assert (level["requests"], level["errors"], level["complete"]) == (3, 0, True)
        assert level["promptTokens"] == 3 * 60  # as counted, whatever a template adds
        assert level["completionTokens"] == 3 * 12
        assert 0 < level["firstTokenP50Ms"] <= level["firstTokenP95Ms"] < level["seconds"] * 1000 + 1
    assert [level["concurrency"] for level in told["levels"]] == [1, told["slots"]]


def test_what_was_loaded_for_it_is_unloaded_unless_it_is_to_stay(house: Cli) -> None:
    def loaded() -> set[str]:
        return {each["identifier"] for each in house("ps", "--json").json}

    active = house("status", "--json").json["status"]["activeModel"]
    done = house("bench", "vectors", "--concurrency", "1", *FEW[:2], "-n", "2")
    assert "loading vectors" in done.err
    assert loaded() == {"talker"}
    assert house("bench", "vectors", "--concurrency", "1", *FEW[:2], "-n", "2", "--keep").status == 0
    assert loaded() == {"talker", "vectors"}
    assert house("status", "--json").json["status"]["activeModel"] == active
    assert house("unload", "vectors").status == 0


def test_a_model_that_embeds_is_measured_by_its_vectors(house: Cli) -> None:
    done = house("bench", "vectors", "--concurrency", "3", "--prompt-tokens", "20", "-n", "6", "--json")
    (level,) = done.json["levels"]
    assert (level["requests"], level["promptTokens"]) == (6, 6 * 20)
    assert level["embeddingsPerSecond"] > 0
    assert 0 < level["latencyP50Ms"] <= level["latencyP95Ms"]
    assert "firstTokenP50Ms" not in level


@pytest.mark.parametrize(
    ("words", "status", "remedy"),
    [
        (("nobody",), Exit.NOT_FOUND, "lanhaven ls"),
        (("judge",), Exit.USAGE, "lanhaven ls"),
        (("bad",), Exit.MODEL, None),
        (("talker", "--concurrency", "0"), Exit.USAGE, "--concurrency 1,4,16"),
        (("talker", "--concurrency", "1,x"), Exit.USAGE, "--concurrency 1,4,16"),
        (
            ("talker", "--prompt-tokens", "500", "--tokens", "8000"),
            Exit.USAGE,
            "lanhaven bench talker --prompt-tokens 128",
        ),
        (("talker", "--tokens", "9000"), Exit.USAGE, "lanhaven bench talker --prompt-tokens 16 --tokens 8112"),
        (("vectors", "--prompt-tokens", "9000"), Exit.USAGE, "lanhaven bench vectors --prompt-tokens 8192"),
        (("talker", "--url", "http://127.0.0.1:9"), Exit.UNREACHABLE, "lanhaven up"),
    ],
)
def test_what_cannot_be_measured(house: Cli, words: tuple[str, ...], status: Exit, remedy: str | None) -> None:
    done = house("bench", *words)
    assert (done.status, done.out) == (status, "")
    assert remedy is None or tries(done)[0] == remedy


def test_a_small_context_makes_small_requests(house: Cli) -> None:
    told = house("bench", "brief", "--concurrency", "1", "-n", "1", "--json").json
    assert told["promptTokens"] + told["tokens"] <= 200
    assert told["levels"][0]["completionTokens"]


def test_failures_are_counted_and_told(house: Cli) -> None:
    done = house("bench", "fragile", "--concurrency", "1", *FEW)
    assert [row[1] for row in done.rows] + [row[-1] for row in done.rows] in (["1", "2"], ["2", "1"])
    assert "note: 1 at once, " in done.err


def test_ctrl_c_shows_what_is_known(house: Cli) -> None:
    words = ("bench", "endless", "--concurrency", "1,2", "--prompt-tokens", "40", "--json")
    process = house.start(*words, "--tokens", "20", "-n", "2")
    assert process.stderr is not None
    while "2 at once" not in process.stderr.readline():
        pass
    process.send_signal(2)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    told = json.loads(out)
    assert told["complete"] is False
    assert told["levels"][0]["complete"] is True
    assert told["levels"][0]["completionTokens"] == 40


def test_on_a_terminal_of_80_columns(house: Cli) -> None:
    done = house.on_terminal("bench", "talker", "--concurrency", "1", *FEW, columns=80)
    heading, row = done.lines[-2:]
    assert heading.split("  ") == [
        *("AT ONCE", "REQUESTS", "FIRST P50", "FIRST P95", "TOK/S EACH", "TOK/S ALL", "PROMPT/S", "ERRORS"),
    ]
    assert len(heading) == len(row) == 80
    assert row.split()[:2] == ["1", "3"]


def test_a_key_that_may_only_ask_models_is_enough(tmp_path: Path, server: Scripted) -> None:
    """Also another server: what slots there are is not known, and who refuses `ignore_eos` is asked without it."""
    server.says("GET", "/admin/models", {"error": "Forbidden"}, 403)
    server.says("GET", "/v1/models", {"data": [{"id": "theirs"}]})
    server.says("POST", "/v1/chat/completions", {"error": {"message": "Unrecognized argument: ignore_eos"}}, 400)
    done = Cli(tmp_path, {"LANHAVEN_URL": server.url})("bench", "theirs")
    assert done.status == Exit.FAILED
    assert "Unrecognized argument" in done.err
    bodies = server.bodies("/v1/chat/completions")
    assert [each.get("ignore_eos") for each in bodies] == [True, None]
    assert Cli(tmp_path, {"LANHAVEN_URL": server.url})("bench", "other").status == Exit.NOT_FOUND


def test_a_real_engine_in_the_background(alone: Cli, smollm2: Path) -> None:
    """Started with `up -d`, whose reader must not wait for the engine that outlives it."""
    (alone.home / "models.yaml").write_text(
        f"default_model: small\nmodels:\n  - {{id: small, provider: llama_cpp, config: {{model_path: {smollm2}}}}}\n"
    )
    assert alone("up", "-d", "--port", "0").status == 0
    try:
        told = alone("bench", "small", "--concurrency", "2", "--prompt-tokens", "48", "--tokens", "8", "--json").json
        (level,) = told["levels"]
        assert (level["requests"], level["errors"]) == (4, 0)
        assert level["completionTokens"] == 4 * 8  # to the last token
        assert abs(level["promptTokens"] - 4 * 48) <= 4 * 4
        assert told["slots"]
    finally:
        assert alone("down", "--force").status == 0
    assert runfile.read(alone.home / ".local/state/lanhaven") is None


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 50, None), ([7], 95, 7), ([4, 1, 3, 2], 50, 2), ([4, 1, 3, 2], 95, 4), (range(1, 101), 95, 95)],
)
def test_percentiles_are_by_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(list(values), share) == expected


def test_figures() -> None:
    level = Level(2, [Sample(0.5, 2.5, 100, 21), Sample(1.0, 2.0, 100, 11)], seconds=4.0)
    figures = level.figures()
    assert (figures["tokensPerSecondEach"], figures["tokensPerSecond"]) == (10.0, 8.0)
    assert figures["promptTokensPerSecond"] == 100.0
    assert (figures["firstTokenP50Ms"], figures["firstTokenP95Ms"]) == (500.0, 1000.0)


def test_who_does_not_count_has_no_figures() -> None:
    figures = Level(1, [Sample(0.5, 2.5, None, None), Sample(1.0, 2.0, 5, 11)], seconds=4.0).figures()
    assert figures["completionTokens"] is figures["tokensPerSecond"] is None
