"""`ping`: who answers, how fast, and whether the key is good."""

from __future__ import annotations

import pytest

from tests.cli.conftest import HEALTH
from tests.cli.scripted import Cli, Scripted
from tests.cli.test_failures import tries

LISTED = {"object": "list", "data": [{"id": "smollm2"}, {"id": "qwen3"}]}


@pytest.fixture
def answering(server: Scripted) -> Scripted:
    server.says("GET", "/v1/models", LISTED)
    return server


@pytest.mark.req("S3-36")
def test_what_a_server_says_of_itself(cli: Cli, answering: Scripted) -> None:
    answer = cli("ping", "--json").json
    assert answer.pop("latencyMs").keys() == {"first", "least", "mean"}
    assert answer == {
        "url": answering.url,
        "status": "ok",
        "server": "LanHaven 0.1.0",
        "version": "0.1.0",
        "lmstudioVersion": None,
        "models": 2,
        "modelsLoaded": 1,
    }
    shown = dict(cli("ping").rows)
    assert (shown["state"], shown["models"], shown["models loaded"]) == ("ok", "2", "1")


def test_it_asks_as_often_as_it_is_told(cli: Cli, answering: Scripted) -> None:
    assert cli("ping", "--count", "5").status == 0
    assert [each.path for each in answering.asked] == ["/health"] * 5 + ["/v1/models"]


@pytest.mark.req("S3-36")
@pytest.mark.parametrize("status", [200, 404])
def test_a_server_without_our_health_is_no_failure(cli: Cli, answering: Scripted, status: int) -> None:
    """LM Studio answers unknown routes with 200 and an error."""
    answering.says("GET", "/health", {"error": "Unexpected endpoint or method. (GET /health)"}, status)
    answer = cli("ping", "--json").json
    assert (answer["server"], answer["models"], answer["status"]) == ("an OpenAI server", 2, None)


def test_a_server_without_providers_is_told(cli: Cli, answering: Scripted) -> None:
    answering.says("GET", "/health", {**HEALTH, "status": "degraded"})
    done = cli("ping")
    assert (done.status, dict(done.rows)["state"]) == (0, "degraded")
    assert "no provider" in done.err


@pytest.mark.req("S3-36", "S3-37")
def test_a_key_that_is_refused_is_found_out(cli: Cli, answering: Scripted) -> None:
    answering.says("GET", "/v1/models", {"error": {"message": "Unauthorized", "code": "invalid_api_key"}}, 401)
    done = cli("ping", "--key", "wrong")
    assert done.status == 4
    assert tries(done)


@pytest.mark.req("S3-36")
def test_nobody_there(alone: Cli) -> None:
    done = alone("ping", "--url", "http://127.0.0.1:1")
    assert (done.status, done.out) == (3, "")
    assert tries(done)


def test_what_is_no_model_server(cli: Cli, answering: Scripted) -> None:
    answering.says("GET", "/v1/models", {"hello": "world"})
    done = cli("ping")
    assert done.status == 1
    assert "no model server" in done.err
