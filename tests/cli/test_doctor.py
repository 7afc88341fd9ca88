"""`doctor`."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from lanhaven.cli import checks_machine
from tests.cli.conftest import HEALTH
from tests.cli.scripted import Cli, Scripted, scripted
from tests.ports import free_port
from tests.providers.llamacpp import llama_server


def checks(cli: Cli, **variables: str) -> dict[str, dict[str, str]]:
    found = cli("doctor", "--json", **variables).json
    assert all(each["remedy"] for each in found if each["level"] == "fail")
    return {each["check"]: each for each in found}


@pytest.mark.req("S1-44")
def test_all_is_well(cli: Cli) -> None:
    (cli.home / "models.yaml").write_text("models:\n  - {id: a, provider: mock}\n")
    done = cli("doctor")
    assert done.status == 0, done.out
    names = [row[1] for row in done.rows]
    for name in ("python", "platform", "processors", "load", "memory", "llama.cpp", "images", "settings"):
        assert name in names
    for name in ("access", "server", "LM Studio", "Ollama", "llama-server"):
        assert name in names
    assert "nothing failed" in done.err


def test_a_terminal_gets_marks_and_remedies(alone: Cli) -> None:
    done = alone.on_terminal("doctor", LANHAVEN_PORT=str(free_port()), LANHAVEN_URL=f"http://127.0.0.1:{free_port()}")
    assert any(line.startswith("✓ python") for line in done.lines)
    index = next(index for index, line in enumerate(done.lines) if line.startswith("! server"))
    assert done.lines[index + 1].split() == ["Try", "lanhaven", "up"]


def test_a_broken_setting_is_the_one_thing_told_about_the_setup(alone: Cli) -> None:
    done = alone("doctor", "--quiet", LANHAVEN_PORT="many")
    assert done.status == 1
    (row,) = [row for row in done.rows if row[0] == "fail"]
    assert row[1] == "settings"
    assert "LANHAVEN_PORT" in row[2]


def test_the_engine_that_would_run_is_told_with_its_reason_and_devices(alone: Cli, tmp_path: Path) -> None:
    found = checks(alone)["llama.cpp"]
    assert found["level"] == "ok"
    assert re.fullmatch(r"xllamacpp \S+ \(installed\), no GPU", found["text"])
    program = llama_server.install(tmp_path, devices="  CUDA0: NVIDIA H100 80GB (81079 MiB, 80561 MiB free)")
    setting = json.dumps({"llama_cpp": {"binary": str(program)}})
    found = checks(alone, LANHAVEN_PROVIDERS=setting)["llama.cpp"]
    words = f"llama-server 0.7.0 11669 (providers.llama_cpp.binary: {program}), NVIDIA H100 80GB (79 GiB)"
    assert (found["level"], found["text"]) == ("ok", words)


@pytest.mark.req("F-014")
def test_an_engine_that_cannot_run_names_its_setting(alone: Cli, tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    setting = json.dumps({"llama_cpp": {"binary": str(program)}})
    found = checks(alone, LANHAVEN_PROVIDERS=setting)["llama.cpp"]
    assert found["level"] == "warn"
    assert "correct providers.llama_cpp.binary" in found["remedy"]
    program.write_text("\0ELF of another machine")
    program.chmod(0o700)
    found = checks(alone, LANHAVEN_PROVIDERS=setting)["llama.cpp"]
    assert (found["level"], "Exec format error" in found["text"]) == ("fail", True)


def test_a_broken_models_file_is_told_with_its_line(cli: Cli) -> None:
    (cli.home / "models.yaml").write_text("models:\n  - {id: a}\n")
    found = checks(cli)["models.yaml"]
    assert found["level"] == "fail"
    assert "models.yaml:2" in found["text"]


def test_a_missing_model_file_fails_unless_its_entry_is_disabled(cli: Cli) -> None:
    text = "models:\n  - {id: a, provider: llama_cpp, enabled: ENABLED, config: {model_path: /nowhere/x.gguf}}\n"
    (cli.home / "models.yaml").write_text(text.replace("ENABLED", "true"))
    found = checks(cli)["model file"]
    assert found["level"] == "fail"
    assert "/nowhere/x.gguf" in found["text"]
    (cli.home / "models.yaml").write_text(text.replace("ENABLED", "false"))
    assert "model file" not in checks(cli)


def test_a_packed_model_whose_file_has_gone_is_fetched_again(cli: Cli) -> None:
    file = cli.home / "SmolLM2-135M-Instruct.Q4_1.gguf"
    text = f"models:\n  - {{id: small, provider: llama_cpp, config: {{model_path: {file}}}}}\n"
    (cli.home / "models.yaml").write_text(text)
    assert checks(cli)["model file"]["remedy"].startswith("lanhaven get smollm2")


def test_folders_that_cannot_be_written_fail(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = checks(cli, LANHAVEN_STATE_DIR=str(tmp_path / "file/state"))["folder"]
    assert (found["level"], found["text"]) == ("fail", f"{tmp_path}/file/state cannot be written")
    assert "LANHAVEN_STATE_DIR" in found["remedy"]
    assert "folder" not in checks(cli)


def test_the_servers_state_decides(cli: Cli, server: Scripted) -> None:
    assert checks(cli)["server"]["level"] == "ok"
    server.says("GET", "/health", {**HEALTH, "status": "degraded"})
    assert checks(cli)["server"]["level"] == "warn"
    server.says("GET", "/debug/status", {"error": "Unauthorized"}, 401)
    assert checks(cli)["server"]["level"] == "fail"


def test_no_server_is_no_failure_and_the_port_is_looked_at(alone: Cli) -> None:
    port = free_port()
    found = checks(alone, LANHAVEN_PORT=str(port), LANHAVEN_URL=f"http://127.0.0.1:{port}")
    assert found["server"]["level"] == "warn"
    assert found["port"]["level"] == "ok"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        found = checks(alone, LANHAVEN_PORT=str(number), LANHAVEN_URL=f"http://127.0.0.1:{port}")
    assert found["port"]["level"] == "warn"


@pytest.mark.req("F-148")
def test_an_open_door_without_a_key_fails(alone: Cli) -> None:
    exposed = {"LANHAVEN_HOST": "0.0.0.0", "LANHAVEN_URL": f"http://127.0.0.1:{free_port()}"}
    found = checks(alone, **exposed)
    assert found["access"]["level"] == "fail"
    assert "firewall" in found
    alone("keys", "add", "anna")
    assert (
        checks(alone, LANHAVEN_HOST="0.0.0.0", LANHAVEN_URL=f"http://127.0.0.1:{free_port()}")["access"]["level"]
        == "ok"
    )


def test_neighbours_are_found(cli: Cli) -> None:
    with scripted() as studio:
        studio.says("GET", "/api/v0/models", {"data": []})
        assert checks(cli, LMSTUDIO_BASE_URL=studio.url)["LM Studio"]["text"] == f"found at {studio.url}"
        studio.says("GET", "/api/v0/models", b"<html>")
        assert checks(cli, LMSTUDIO_BASE_URL=studio.url)["LM Studio"]["text"] == "does not run here"


@pytest.mark.parametrize(("text", "expected"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("", None)])
def test_a_containers_share_of_the_processors(tmp_path: Path, text: str, expected: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert checks_machine.cpu_quota(tmp_path) == expected


def test_a_share_smaller_than_the_machine_is_warned_about() -> None:
    assert checks_machine.processors(0.5).level == "warn"
    assert checks_machine.processors(None).level == "ok"


@pytest.mark.parametrize(("text", "expected"), [("max\n", None), ("536870912\n", 536870912)])
def test_a_containers_memory(tmp_path: Path, text: str, expected: int | None) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert checks_machine.memory_limit(tmp_path) == expected
    if expected:
        assert checks_machine.memory(expected).level == "warn"
