"""Client programs in environments of their own, against a real server with real models.

Their packages do not belong into the project's environment: some hold versions of libraries that it has in others.
tests/clients/*.lock say what they are; scripts/setup installs them into .tools/clients, which takes seconds.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import House
from tests.js.node import install, suite

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests/clients/programs"
NODE = ROOT / "tests/clients/js"


def environment(name: str) -> Path:
    """The interpreter of an environment, made now if need be."""
    folder = f".tools/clients/{name}"
    done = subprocess.run(
        ["scripts/setup", "--quiet", "--other", folder, f"tests/clients/{name}.lock"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return ROOT / folder / "bin/python"


def run(program: str, python: Path, house: House, home: Path) -> list[str]:
    """Run a program of tests/clients/programs to its end, which must be a success; the checks that it names."""
    done = subprocess.run(
        [python, "-W", "ignore", PROGRAMS / program, house.url, house.key],
        cwd=home, env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LLM_USER_PATH": str(home)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(280)
def test_langchain_and_llm(house: House, tmp_path: Path) -> None:
    assert run("frameworks.py", environment("frameworks"), house, tmp_path) == [
        *("ChatOpenAI chats", "ChatOpenAI calls a tool", "ChatOpenAI answers in a form"),
        *("ChatOpenAI chats by Responses", "ChatOpenAI fails in words", "OpenAIEmbeddings"),
        *("ChatOllama chats", "ChatOllama calls a tool", "ChatOllama answers in a form"),
        *("ChatOllama fails in words", "OllamaEmbeddings"),
        *("ChatAnthropic chats", "ChatAnthropic calls a tool", "ChatAnthropic answers in a form"),
        *("ChatAnthropic counts", "ChatAnthropic fails in words"),
        *("llm chats", "llm answers in a form", "llm embeds"),
    ]


@pytest.mark.timeout(280)
def test_anthropics_library_of_before_the_new_version(house: House, tmp_path: Path) -> None:
    done = run("anthropic_0.py", environment("anthropic-0"), house, tmp_path)
    assert done == ["a message", "a stream", "a tool", "a tool that was cut short", "a count", "models", "errors"]


@pytest.mark.timeout(280)
def test_ollamas_library_for_javascript(house: House) -> None:
    install(NODE)
    suite(NODE / "ollama.test.mjs", None, patience=200, LANHAVEN_URL=house.url, LANHAVEN_KEY=house.key)
