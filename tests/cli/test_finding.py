"""Which server a command talks to, and which key goes where."""

from __future__ import annotations

import os
from pathlib import Path

from lanhaven import runfile
from lanhaven.runfile import RunInfo
from tests.cli.conftest import MODELS
from tests.cli.scripted import Cli, Scripted, scripted

LATER = "2100-01-01T00:00:00.000Z"


def leave_note(home: Path, url: str, token: str = "token-of-this-run", pid: int | None = None) -> None:
    """As a server of this user would: the process that it names is this test."""
    state = home / ".local" / "state" / "lanhaven"
    runfile.write(state, RunInfo(url, pid or os.getpid(), token, "0.1.0", LATER))


def keys_sent(server: Scripted) -> list[str | None]:
    return [each.headers.get("x-api-key") for each in server.asked]


def test_the_run_file_names_server_and_token(alone: Cli, server: Scripted) -> None:
    leave_note(alone.home, server.url)
    assert alone("ls").status == 0
    assert keys_sent(server) == ["token-of-this-run"]
    assert alone("status", "--json").json["pid"] == os.getpid()


def test_the_environment_wins_over_the_run_file_and_the_option_over_both(alone: Cli, server: Scripted) -> None:
    with scripted() as other, scripted() as third:
        other.says("GET", "/admin/models", MODELS)
        third.says("GET", "/admin/models", MODELS)
        leave_note(alone.home, server.url)
        assert alone("ls", LANHAVEN_URL=other.url, LANHAVEN_API_KEY="mine").status == 0
        assert alone("ls", "--url", third.url, "--key", "given", LANHAVEN_URL=other.url).status == 0
        assert (keys_sent(server), keys_sent(other), keys_sent(third)) == ([], ["mine"], ["given"])


def test_the_token_goes_to_no_other_address(alone: Cli, server: Scripted) -> None:
    with scripted() as other:
        leave_note(alone.home, other.url)
        assert alone("ls", "--url", server.url).status == 0
        assert alone("ls", LANHAVEN_URL=server.url).status == 0
    assert keys_sent(server) == [None, None]


def test_the_token_goes_along_when_the_address_of_the_run_file_is_named(alone: Cli, server: Scripted) -> None:
    leave_note(alone.home, server.url)
    assert alone("ls", "--url", f"{server.url}/").status == 0
    assert keys_sent(server) == ["token-of-this-run"]


def test_a_run_file_elsewhere(alone: Cli, server: Scripted, tmp_path: Path) -> None:
    runfile.write(tmp_path / "elsewhere", RunInfo(server.url, os.getpid(), "t", "0.1.0", LATER))
    assert alone("ls", LANHAVEN_STATE_DIR=str(tmp_path / "elsewhere")).status == 0


def test_a_proxy_in_the_environment_does_not_come_between(cli: Cli) -> None:
    assert cli("ls", http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9").status == 0


def test_the_key_is_never_shown(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/admin/models", {"error": "Unauthorized"}, 401)
    done = cli("ls", "--key", "sk-lan-very-secret")
    assert "very-secret" not in done.out + done.err
