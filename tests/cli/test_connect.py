"""`lanhaven connect` against a running server with scripted models, and against a scripted server."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lanhaven.cli.app import run
from lanhaven.connect.document import document
from lanhaven.connect.recipe import Place
from tests.cli.scripted import Cli, Result, Scripted
from tests.cli.test_failures import tries
from tests.cli.test_real_server import running

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, config: {context_length: 100000}}
  - {id: small, provider: mock, config: {context_length: 8192}}
"""
ZED = '{\n  // mine\n  "theme": "One Dark", // dark\n}\n'


@dataclass
class Here:
    """The command line in this process, which starts in no time, with a home of its own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, **variables: str) -> Result:
        said = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", **self.environment, **variables}
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in list(os.environ):
                patch.delenv(name)
            for name, value in said.items():
                patch.setenv(name, value)
            patch.setattr("sys.stdin", io.StringIO())
            patch.chdir(self.home)
            status = run(words)
        return Result(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """As a process, beside a running server that its run file tells of."""
    cli = Cli(tmp_path_factory.mktemp("home"))
    (cli.home / "models.yaml").write_text(MODELS)
    with running(cli, "--provider", "mock"):
        yield cli


@pytest.fixture
def house(process: Cli) -> Here:
    """In this process, beside that server."""
    return Here(process.home)


@pytest.fixture
def alone(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def cli(tmp_path: Path, server: Scripted) -> Here:
    """Told by the environment where the scripted server is."""
    return Here(tmp_path, {"LANHAVEN_URL": server.url})


def url_of(cli: Cli | Here) -> str:
    url: str = json.loads((cli.home / ".local/state/lanhaven/server.json").read_text())["url"]
    return url


def put(home: Path, name: str, text: str) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def program(home: Path, name: str, script: str) -> str:
    """A program of this name; the PATH with it."""
    path = put(home, f"bin/{name}", f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{path.parent}:/usr/bin:/bin"


# ---- shown


def test_the_list_needs_no_server(alone: Here) -> None:
    path = program(alone.home, "zed", "true")
    listed = {row[0]: row for row in alone("connect", PATH=path).rows}
    assert len(listed) == 25
    assert listed["claude"][1:] == ["false", "Anthropic's coding agent for the terminal"]
    assert listed["zed"][1] == "true"
    said = {each["id"]: each for each in alone("connect", "--json", PATH=path).json}
    assert (said["zed"]["installed"], said["langchain"]["installed"]) == (True, None)
    assert (said["claude"]["name"], said["claude"]["needs"]) == ("Claude Code", ["tools", "context>=32768"])


@pytest.mark.req("S4-29")
def test_the_settings_come_alone_and_the_checks_beside_them(process: Cli) -> None:
    done = process("connect", "claude")
    assert done.status == 0, done.err
    assert done.out.startswith(f"export ANTHROPIC_BASE_URL={url_of(process)}\nexport ANTHROPIC_AUTH_TOKEN=not-needed\n")
    assert all(line.startswith("export ") for line in done.out.splitlines())
    assert "✓ /v1/messages answered in" in done.err
    assert "⚠" not in done.err


def test_a_model_that_is_too_small_is_told(house: Here) -> None:
    done = house("connect", "claude", "--model", "small", "--no-test")
    assert (done.status, "ANTHROPIC_MODEL=small\n" in done.out) == (0, True)
    assert "⚠ context 8,192: Claude Code's first prompt alone is about 19,000 tokens" in done.err
    assert "✓" not in done.err


def test_the_recipe_as_json(house: Here) -> None:
    said = house("connect", "codex", "--json").json
    assert (said["id"], said["kind"], said["tested"]) == ("codex", "agent", "0.169.0")
    assert "Bearer {{key}}" in said["steps"][0]["text"]


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (("claud",), 5, "lanhaven connect claude"),
        (("claude", "--model", "nobody"), 5, "nobody"),
        (("claude", "--write", "--run"), 2, "exclude each other"),
        (("claude", "hello"), 2, "--run starts it"),
        (("cline", "--write"), 2, "reads no file that could be written"),
        (("zed", "--run"), 2, "cannot be started"),
    ],
)
def test_what_cannot_be(house: Here, words: tuple[str, ...], status: int, part: str) -> None:
    done = house("connect", *words)
    assert done.status == status
    assert part in done.err
    assert tries(done)


# ---- written


def test_written_shown_and_taken_back(house: Here) -> None:
    path = put(house.home, ".config/zed/settings.json", ZED)
    done = house("connect", "zed", "--write", "--no-test")
    assert (done.status, path.read_text()) == (2, ZED), "nobody agreed"
    assert '+      "api_url": "' in done.out
    done = house("connect", "zed", "--write", "--yes")
    assert done.status == 0, done.err
    assert "✓ /api/v0/chat/completions" in done.err
    assert path.read_text().startswith(ZED[: ZED.index("// dark")] + "// dark\n")
    assert f"{url_of(house)}/api/v0" in path.read_text()
    assert "says so already" in house("connect", "zed", "--write", "--no-test").err
    assert house("connect", "zed", "--undo").status == 0
    assert path.read_text() == ZED


def test_a_person_is_asked(process: Cli) -> None:
    path = process.home / ".bashrc"
    with process.terminal("connect", "llm", "--write", "--no-test", SHELL="/bin/bash") as terminal:
        terminal.until("Write ")
        terminal.type("n\n")
        assert terminal.finish().status == 1
    assert not path.exists()
    with process.terminal("connect", "llm", "--write", "--no-test", SHELL="/bin/bash") as terminal:
        terminal.until("Write ")
        terminal.type("y\n")
        assert terminal.finish().status == 0
    assert path.read_text() == (
        f"# >>> lanhaven connect llm >>>\nexport OLLAMA_HOST={url_of(process)}\nexport OLLAMA_API_KEY=not-needed\n"
        "# <<< lanhaven connect llm <<<\n"
    )


def test_what_cannot_be_merged_is_shown_instead(house: Here) -> None:
    path = put(house.home, ".claude/settings.json", '{"env": ')
    done = house("connect", "claude", "--write", "--yes", "--no-test")
    assert (done.status, path.read_text()) == (1, '{"env": ')
    assert json.loads(done.out)["env"]["ANTHROPIC_BASE_URL"] == url_of(house)
    assert "nothing was changed" in done.err
    assert "paste" in tries(done)[0]


# ---- run


def test_the_app_is_started_connected(process: Cli) -> None:
    path = program(process.home, "claude", 'echo "$ANTHROPIC_BASE_URL $ANTHROPIC_MODEL $*"; exit 7')
    done = process("connect", "claude", "--run", "--", "-p", "say hello", PATH=path)
    assert (done.status, done.out) == (7, f"{url_of(process)} alpha -p say hello\n")
    assert "✓ /v1/messages" in done.err


def test_an_app_that_is_not_installed(house: Here) -> None:
    done = house("connect", "opencode", "--run", "--no-test", PATH="/nowhere")
    assert done.status == 5
    assert "opencode is not installed here" in done.err


# ---- keys


def keyed(server: Scripted, *, admin: bool = True) -> None:
    """A server that wants keys: the facts, the list, one request of curl's recipe."""
    said = document(Place(server.url, "alpha", key_required=True))
    if admin:
        server.says("GET", "/admin/connect", said)
        server.says("POST", "/admin/keys", {"name": "curl", "key": "sk-lan-new"}, 201)
    else:
        server.says("GET", "/admin/connect", {"error": "Forbidden", "code": "forbidden"}, 403)
        server.says("POST", "/admin/keys", {"error": "Forbidden", "code": "forbidden"}, 403)
    card = {"id": "alpha", "type": "llm", "state": "loaded", "max_context_length": 8192, "capabilities": ["tool_use"]}
    server.says("GET", "/api/v0/models", {"data": [{**card, "id": "x", "type": "embeddings"}, card]})
    server.says("GET", "/v1/models", {"data": [{"id": "alpha"}]})
    server.says("POST", "/v1/chat/completions", b"data: [DONE]\n\n")


def header(done: Result) -> str:
    return next(line for line in done.out.splitlines() if "Authorization" in line)


def test_a_key_is_made_once_and_kept_for_its_owner(cli: Here, server: Scripted) -> None:
    keyed(server)
    first = cli("connect", "curl", LANHAVEN_API_KEY="sk-lan-admin")
    assert first.status == 0, first.err
    assert "Bearer sk-lan-new" in header(first)
    assert "made the key curl for it" in first.err
    assert server.asked[-1].headers["x-api-key"] == "sk-lan-new", "the app's key is tried out, not ours"
    again = cli("connect", "curl", LANHAVEN_API_KEY="sk-lan-admin")
    assert "Bearer sk-lan-new" in header(again)
    assert "made the key" not in again.err
    assert server.bodies("/admin/keys") == [{"name": "curl", "scopes": ["inference"]}]
    notes = cli.home / ".local/state/lanhaven/connect.json"
    assert stat.S_IMODE(notes.stat().st_mode) == 0o600


def test_a_key_that_is_given_is_taken(cli: Here, server: Scripted) -> None:
    keyed(server, admin=False)
    done = cli("connect", "curl", "--key", "sk-lan-mine")
    assert "Bearer sk-lan-mine" in header(done)
    assert done.status == 0
    assert server.bodies("/admin/keys") == []


def test_who_may_make_no_key_gives_his_own(cli: Here, server: Scripted) -> None:
    keyed(server, admin=False)
    done = cli("connect", "curl", LANHAVEN_API_KEY="sk-lan-mine")
    assert (done.status, "Bearer sk-lan-mine" in header(done)) == (0, True)
    done = cli("connect", "curl", "--key", "other-name", LANHAVEN_API_KEY="sk-lan-mine")
    assert done.status == 4


def test_without_any_key_there_is_a_place_for_one(cli: Here, server: Scripted) -> None:
    server.says("GET", "/admin/connect", {"error": "Unauthorized", "code": "invalid_api_key"}, 401)
    done = cli("connect", "curl", "--model", "alpha")
    assert (done.status, "Bearer YOUR-KEY" in header(done)) == (4, True)
    assert tries(done)[0] == "on the server: lanhaven keys add curl"
    assert cli("connect", "claude", "--write", "--yes").status == 4
    assert not (cli.home / ".claude").exists()


def test_a_name_that_is_taken(cli: Here, server: Scripted) -> None:
    keyed(server)
    taken: dict[str, Any] = {"error": "There is a key named curl already.", "code": "invalid_request"}
    server.says("POST", "/admin/keys", taken, 400)
    done = cli("connect", "curl", LANHAVEN_API_KEY="sk-lan-admin")
    assert done.status == 1
    assert tries(done)[0] == "lanhaven connect curl --key OTHER-NAME"


def test_a_request_that_fails_fails_the_command(cli: Here, server: Scripted) -> None:
    keyed(server)
    refusal = {"error": {"message": "the prompt is 19,000 tokens", "hint": "lanhaven load alpha --context 32768"}}
    server.says("POST", "/v1/chat/completions", refusal, 400)
    done = cli("connect", "curl", "--key", "sk-lan-mine", LANHAVEN_API_KEY="sk-lan-admin")
    assert done.status == 1
    assert "✓ /v1/models" in done.err
    assert "✗ /v1/chat/completions did not answer as curl expects" in done.err
    assert "error: the prompt is 19,000 tokens" in done.err
    assert tries(done)[0] == "lanhaven load alpha --context 32768"


def test_a_reply_of_another_kind_fails_it_too(cli: Here, server: Scripted) -> None:
    keyed(server)
    server.says("GET", "/v1/models", {"data": []})
    done = cli("connect", "curl", "--key", "sk-lan-mine", LANHAVEN_API_KEY="sk-lan-admin")
    assert done.status == 1
    assert "error: the list of models is not in the reply of /v1/models" in done.err
