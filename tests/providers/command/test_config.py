"""What models.yaml may say of a program, and what is refused when it is read."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import InvalidRequest
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.command.config import read_defaults, read_program
from lanhaven.providers.command.provider import CommandProvider
from lanhaven.providers.command.words import crash_reason, is_taken, reason, secrets_of, stage_of, struck
from lanhaven.types.models import LoadConfig, ModelKind

SECRET = "sk-very-secret"
VALUES = {"PORT": "5", "SOCKET": "/s", "KEY": "k", "MODEL": "m"}


def test_a_line_is_cut_as_a_shell_cuts_it() -> None:
    program = read_program({"command": "serve --name 'two words' --port ${PORT} a\\ b"})
    assert program.filled(VALUES) == (["serve", "--name", "two words", "--port", "5", "a b"], {})


def test_a_list_is_taken_as_it_is() -> None:
    program = read_program({"command": ["serve", "a b", "|", "$HOME", 8, "$${PORT}", "x${PORT}y", "${MODEL}"]})
    assert program.filled(VALUES)[0] == ["serve", "a b", "|", "$HOME", "8", "${PORT}", "x5y", "m"]


def test_home() -> None:
    program = read_program({"command": "~/bin/serve --model ~/m.gguf ${PORT}", "cwd": "~/x"})
    home = str(Path.home())
    assert program.filled(VALUES)[0] == [f"{home}/bin/serve", "--model", f"{home}/m.gguf", "5"]
    assert program.cwd == Path.home() / "x"


def test_all_settings() -> None:
    program = read_program(
        {
            "command": ["serve"],
            "env": {"PORT": "${PORT}", "N": 3},
            "health": "/ready",
            "model": "there",
            "routes": ["chat", "tokenize"],
            "capabilities": ["tools", "vision"],
            "context_length": 4096,
            "slots": 8,
            "api_key": SECRET,
            "start_timeout": 30,
            "stop_signal": "sigint",
            "stop_seconds": 0,
            "memory_mib": 10,
            "keep_log": False,
            "listener": "any",
        }
    )
    assert program.filled(VALUES) == (["serve"], {"PORT": "5", "N": "3"})
    assert (program.kind, program.stop_signal, program.memory_bytes) == (ModelKind.VLM, signal.SIGINT, 10 << 20)
    assert SECRET not in repr(program)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "command is missing"),
        ({"command": []}, "must begin with a program"),
        ({"command": ""}, "must be a text"),
        ({"command": "serve 'x ${PORT}"}, "quotation mark"),
        ({"command": "serve ${PORT} | tee log"}, "no shell"),
        ({"command": [["serve"]]}, "list of arguments"),
        ({"command": "serve"}, "where the program shall listen"),
        ({"command": "serve $${PORT}"}, "where the program shall listen"),
        ({"command": "serve ${PORT} ${SOCKET}"}, "in one way"),
        ({"command": "serve ${PORT}", "port": 5}, "in one way"),
        ({"command": "serve ${PORT} ${HOME}"}, r"\$\{HOME\}, which is unknown"),
        ({"command": "serve ${PORT}", "env": {"A": "${port}"}}, r"config\.env\.A holds \$\{port\}"),
        ({"command": "serve ${PORT}", "env": {"A=B": "x"}}, "name that no variable can have"),
        ({"command": "serve ${PORT}", "env": {"A": [1]}}, r"config\.env\.A must be a text"),
        ({"command": "serve ${PORT}", "env": SECRET}, "must be a mapping"),
        ({"command": "serve ${PORT} a\0b"}, "must be a text"),
        ({"command": "serve ${PORT}", "cwd": "here"}, "absolute"),
        ({"command": "serve ${PORT}", "health": "health"}, "begins with /"),
        ({"command": "serve ${PORT}", "health": "/a\r\nX: y"}, "begins with /"),
        ({"command": "serve ${PORT}", "routes": ["chta"]}, "routes must be a list of these"),
        ({"command": "serve ${PORT}", "routes": []}, "routes must be a list of these"),
        ({"command": "serve ${PORT}", "stop_signal": "KILL"}, "stop_signal must be one of"),
        ({"command": "serve ${PORT}", "start_timeout": 0}, "more than 0"),
        ({"command": "serve ${PORT} ${KEY}", "api_key": SECRET}, "must not stand beside"),
        ({"command": "serve ${PORT}", "api_key": "two words"}, "without blanks"),
        ({"command": "serve ${PORT}", "comand": "x"}, "did you mean command"),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named) as caught:
        read_program(config)
    assert SECRET not in caught.value.message


@pytest.mark.req("S4-12")
def test_as_a_model(tmp_path: Path) -> None:
    provider = CommandProvider(ProviderContext("command", tmp_path / "r", {"default_slots": 2}))

    def described(**config: Any) -> Any:
        return provider.describe(ModelEntry("big", "command", config=config))

    chat = described(command="sh ${PORT}", context_length=4096, memory_mib=100)
    assert (chat.kind, chat.max_context, chat.unavailable, chat.guessed) == (ModelKind.LLM, 4096, None, True)
    assert chat.capabilities == {"chat", "completion", "tools"}
    assert provider.estimate(chat, LoadConfig()) == 100 << 20
    vectors = described(command="sh ${PORT}", routes=["embedding", "tokenize"])
    assert (vectors.kind, vectors.capabilities) == (ModelKind.EMBEDDING, {"embedding"})
    assert described(command="sh ${PORT}", routes="rerank").kind is ModelKind.RERANKER
    assert described(command="sh ${PORT}", capabilities=[]).capabilities == {"chat", "completion"}
    assert "no program 'no-such'" in described(command="no-such ${PORT}").unavailable
    assert "no program 'serve'" in described(command="./serve ${PORT}", cwd=str(tmp_path)).unavailable
    assert described(command="sh ${PORT}", cwd=str(tmp_path / "absent")).unavailable == "config.cwd is no folder."
    assert "unknown" in described(command="sh ${X}").unavailable


def test_the_providers_own_settings() -> None:
    said = read_defaults({"default_slots": 2, "prompt_cache_mib": 1, "engine_stop": 3, "probe_every": 1.0})
    timers = said.timers()
    assert (said.default_slots, timers.terminate, timers.probe_every) == (2, 3.0, 1.0)
    with pytest.raises(InvalidRequest, match="no setting of command"):
        read_defaults({"shell": True})


def test_secrets() -> None:
    env = {"HF_TOKEN": "line-one\nline-two", "HOME": "/home/somebody", "PIN_PASS": "abc"}
    found = secrets_of(["serve", "--api-key", "k1234", "--hf-token=t1234", "--port", "1"], env, "own-key", None)
    assert found == {"line-one", "line-two", "k1234", "t1234", "own-key"}
    assert struck("a own-key-long own-key", {"own-key", "own-key-long"}) == "a *** ***"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], None),
        (["", "  bye  "], "bye"),
        (["Traceback (most recent call last):", "OSError: no file /a/b/c.gguf", "", "note"], "OSError: no file c.gguf"),
        (["error: one", "lanhaven: not ready", "error: two"], "not ready"),
    ],
)
def test_the_reason_of_a_failed_start(lines: list[str], said: str | None) -> None:
    assert reason(lines) == said


def test_the_reason_of_a_crash_quotes_nobody() -> None:
    assert crash_reason(["CUDA error: out of memory", 'fatal: request {"a": 1}', "done"]) == "CUDA error: out of memory"
    assert crash_reason(["an error in a request"]) is None


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 98] Address already in use",
        "Error: listen EADDRINUSE: address already in use 127.0.0.1:1",
        "port 8000 is already in use",
        "couldn't bind HTTP server socket",
        "failed to bind",
    ],
)
def test_a_taken_port(line: str) -> None:
    assert is_taken(["x", line])


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("Loading weights:  45%|####", ("loading", 0.45)),
        ("Fetching 12 files: 8% \ufffdFetching 12 files: 16.5%", ("loading", 0.16)),
        ("cache use is 45%", None),
        ("loading took 300%", None),
    ],
)
def test_stages(line: str, stage: tuple[str, float] | None) -> None:
    assert stage_of(line) == stage
