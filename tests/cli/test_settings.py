"""`keys`, `config`, `version`, and what `--help` costs."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lanhaven import __version__
from lanhaven.config.published import published
from tests.cli.scripted import ROOT, Cli
from tests.cli.test_failures import tries


@pytest.mark.req("S0-89")
def test_a_key_is_shown_once_and_only_its_beginning_after_that(alone: Cli) -> None:
    done = alone("keys", "add", "anna")
    secret = done.out.strip()
    assert done.status == 0
    assert secret.startswith("sk-lan-")
    listed = alone("keys", "ls")
    assert secret not in listed.out
    (row,) = listed.rows
    assert row[:3] == ["anna", "inference", secret[: len(row[2])]]
    (record,) = alone("keys", "ls", "--json").json
    assert record["scopes"] == ["inference"]
    assert "lastUsed" not in record


def test_a_key_for_lm_studios_clients(alone: Cli) -> None:
    token = alone("keys", "add", "phone", "--lmstudio").out.strip()
    assert token.startswith("sk-lm-")
    (row,) = alone("keys", "ls").rows
    assert row[:3] == ["phone", "inference", token[: len(row[2])]]


def test_scopes(alone: Cli) -> None:
    assert set(alone("keys", "add", "boss", "--admin", "--json").json) == {"name", "key"}
    alone("keys", "add", "viewer", "--scope", "inference", "--scope", "debug")
    scopes = {each["name"]: each["scopes"] for each in alone("keys", "ls", "--json").json}
    assert scopes == {"boss": ["admin", "debug", "inference"], "viewer": ["debug", "inference"]}
    done = alone("keys", "add", "x", "--scope", "root")
    assert done.status == 2
    assert tries(done)


def test_rotate_and_rm(alone: Cli) -> None:
    first = alone("keys", "add", "anna").out
    second = alone("keys", "rotate", "anna").out
    assert first != second
    assert alone("keys", "rm", "anna").status == 0
    assert alone("keys", "ls").rows == []


def test_bounds_of_a_key(alone: Cli) -> None:
    bounds = ("--models", "qwen*,minilm", "--rpm", "60", "--tpd", "9000", "--expires", "2099-12-31")
    assert alone("keys", "add", "kids", *bounds, "--network", "192.168.1.0/24", "--network", "fd00::/8").status == 0
    shown = alone("keys", "show", "kids", "--json").json
    assert shown["models"] == ["qwen*", "minilm"]
    assert shown["limits"] == {"requestsPerMinute": 60, "tokensPerDay": 9000}
    assert shown["networks"] == ["192.168.1.0/24", "fd00::/8"]
    assert shown["expires"] == "2100-01-01T00:00:00.000Z"
    assert dict(alone("keys", "show", "kids").rows)["tokens/day at most"] == "9,000"
    assert dict(alone("keys", "show", "kids").rows)["expires"] == "at the end of 2099-12-31 (UTC)"
    changes = ("--models", "none", "--rpm", "0", "--tpm", "5", "--expires", "30d", "--scope", "debug")
    changed = alone("keys", "set", "kids", *changes, "--json").json
    assert "models" not in changed
    assert changed["limits"] == {"tokensPerMinute": 5, "tokensPerDay": 9000}
    assert changed["networks"] == shown["networks"]
    assert changed["scopes"] == ["debug"]
    assert changed["expires"] < shown["expires"]
    (row,) = alone("keys", "ls").rows
    assert row[:2] == ["kids", "debug"]
    assert "5 tokens/min, 9,000 tokens/day" in row


def test_an_old_key_can_be_left_for_a_while(alone: Cli) -> None:
    alone("keys", "add", "anna")
    assert "oldKeyUntil" not in alone("keys", "show", "anna", "--json").json
    alone("keys", "rotate", "anna", "--grace", "10m")
    assert "oldKeyUntil" in alone("keys", "show", "anna", "--json").json


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("add", "x", "--expires", "soon"), 2),
        (("add", "x", "--expires", "2099-13-01"), 2),
        (("add", "x", "--network", "192.168.1.5/24"), 2),
        (("add", "x", "--models", ","), 2),
        (("set", "nobody", "--rpm", "5"), 5),
        (("set", "nobody"), 2),
        (("show", "nobody"), 5),
        (("rotate", "nobody", "--grace", "soon"), 2),
    ],
)
def test_bounds_that_cannot_be(alone: Cli, words: tuple[str, ...], status: int) -> None:
    done = alone("keys", *words)
    assert done.status == status, done.err
    assert tries(done)


@pytest.mark.parametrize(("words", "status"), [(("rm", "nobody"), 5), (("rotate", "nobody"), 5), (("add", "a b"), 2)])
def test_keys_that_cannot_be(alone: Cli, words: tuple[str, ...], status: int) -> None:
    done = alone("keys", *words)
    assert done.status == status
    assert tries(done)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")
def test_the_key_file_is_private(alone: Cli) -> None:
    alone("keys", "add", "anna")
    (file,) = alone.home.rglob("keys.sqlite3")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_config_show_tells_origins_and_masks_secrets(alone: Cli) -> None:
    secret = "a-long-enough-secret"
    shown = alone("config", "show", "--origin", "--json", LANHAVEN_PORT="9001", GATEWAY_API_KEY=secret).json
    assert shown["port"] == {"value": 9001, "origin": "env LANHAVEN_PORT"}
    assert shown["host"]["origin"] == "default"
    assert secret not in str(shown)
    rows = alone("config", "show", LANHAVEN_PORT="9001").rows
    assert ["port", "9001"] in rows
    changed = alone("config", "show", "--changed", "--origin", LANHAVEN_PORT="9001").rows
    assert changed == [["port", "9001", "env LANHAVEN_PORT"]]


def test_config_path(alone: Cli) -> None:
    places = alone("config", "path", "--json").json
    assert set(places) == {"config", "models", "data", "state", "cache", "run"}
    assert places["models"] == {"path": str(alone.home / ".config/lanhaven/models.yaml"), "exists": False}
    (alone.home / "models.yaml").write_text("models: []\n")
    assert alone("config", "path", "--json").json["models"]["path"] == str(alone.home / "models.yaml")


def write_models(home: Path, text: str) -> None:
    (home / "models.yaml").write_text(text)


def test_config_check(alone: Cli) -> None:
    write_models(alone.home, "models:\n  - {id: a, provider: mock}\n")
    assert alone("config", "check", "--json").json["models"] == 1
    write_models(alone.home, "models:\n  - {id: a, provider: mock}\n  - {id: a, provider: mock}\n")
    done = alone("config", "check")
    assert done.status == 2
    assert "models.yaml:3" in done.err
    assert tries(done)


def test_a_wrong_setting_is_told_with_its_origin(alone: Cli) -> None:
    done = alone("config", "check", LANHAVEN_PORT="many")
    assert done.status == 2
    assert "LANHAVEN_PORT" in done.err
    assert tries(done)


def test_version(alone: Cli) -> None:
    assert alone("version").out == f"lanhaven {__version__}\n"
    assert alone("--version").out == f"lanhaven {__version__}\n"
    assert alone("version", "--json").json["version"] == __version__


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("-h",), ("keys",), ("config",), ("load", "--help"), ("serve", "--help")]
)
def test_help(alone: Cli, words: tuple[str, ...]) -> None:
    done = alone(*words)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Usage: lanhaven")


def test_help_imports_nothing_heavy() -> None:
    """A start under 150 ms is a matter of what is imported: typer alone is 80."""
    code = "import sys; from lanhaven.cli.app import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=ROOT / "src")
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "typer" in loaded
    assert not loaded & {
        "rich",
        "httpx2",
        "pydantic",
        "platformdirs",
        "msgspec",
        "psutil",
        "asyncio",
        "ruamel",
        "uvicorn",
    }


def test_a_command_imports_no_other_and_over_http_no_client() -> None:
    code = (
        "import sys; from lanhaven.cli.app import run; run(['ls', '--url', 'http://127.0.0.1:9']); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT / "src")
    loaded = set(done.stdout.split())
    assert {"lanhaven.cli.models", "httpx2"} <= loaded
    assert not loaded & {"lanhaven.cli.up", "lanhaven.cli.keys", "lanhaven.client", "aiohttp", "rich"}


@pytest.mark.parametrize("name", ["models", "config"])
def test_the_schema_of_a_file(alone: Cli, name: str) -> None:
    done = alone("config", "schema", name)
    assert done.status == 0
    assert done.out == published(name)


def test_the_schema_of_something_else(alone: Cli) -> None:
    assert alone("config", "schema").out == published("models")
    done = alone("config", "schema", "keys")
    assert (done.status, tries(done)) == (5, ["lanhaven config schema models"])


CONFIG = "# ours\n\nport: 8002   # the usual\n# how long\nqueue_wait: 60s\n"


def test_a_setting_is_written_and_comments_stay(alone: Cli) -> None:
    file = alone.home / "config.yaml"
    file.write_text(CONFIG)
    variables = {"LANHAVEN_CONFIG": str(file)}
    done = alone("config", "set", "port", "9000", **variables)
    assert (done.status, done.out) == (0, "")
    assert alone("config", "set", "ip-allowlist", "10.0.0.7,192.168.0.0/24", **variables).status == 0
    assert alone("config", "set", "queue_wait", "", **variables).status == 0
    text = file.read_text()
    assert text == "# ours\n\nip_allowlist: 10.0.0.7,192.168.0.0/24\nport: 9000   # the usual\n# how long\n"
    shown = alone("config", "show", "--json", **variables).json
    assert (shown["port"], shown["ip_allowlist"]) == (9000, ["10.0.0.7/32", "192.168.0.0/24"])


def test_a_config_file_is_made_where_there_is_none(alone: Cli) -> None:
    done = alone("config", "set", "log_level", "debug", "--json")
    file = Path(done.json["file"])
    assert file.read_text() == "log_level: debug\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert done.json["origin"] == f"{file}:1"


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("port", "many", "port (CONFIG:3)"),
        ("prot", "1", "there is no setting 'prot'"),
        ("providers", "x", "providers (CONFIG:3)"),
        ("ip_allowlist", "192.168.1.5/24", "bits are set beyond the prefix"),
    ],
)
def test_a_setting_that_would_be_wrong_is_not_written(alone: Cli, name: str, value: str, part: str) -> None:
    file = alone.home / "config.yaml"
    file.write_text(CONFIG)
    done = alone("config", "set", name, value, LANHAVEN_CONFIG=str(file))
    assert done.status == 2
    assert part.replace("CONFIG", str(file)) in done.err
    assert tries(done)
    assert file.read_text() == CONFIG


def test_what_wins_over_the_file_is_told(alone: Cli) -> None:
    done = alone("config", "set", "port", "9000", LANHAVEN_PORT="9001")
    assert (done.status, "env LANHAVEN_PORT wins over the file" in done.err) == (0, True)
