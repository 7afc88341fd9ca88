"""What Tab offers."""

from __future__ import annotations

import pytest

from tests.cli.scripted import Cli, Scripted


def offered(cli: Cli, line: str, **variables: str) -> list[str]:
    words = line.split(" ")
    asked = {"_LANHAVEN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return cli(**asked, **variables).out.split()


@pytest.mark.parametrize("command", ["show", "load", "unload", "chat", "activate"])
def test_models_and_aliases(cli: Cli, command: str) -> None:
    assert offered(cli, f"lanhaven {command} t") == ["tiny"]
    assert offered(cli, f"lanhaven {command} org") == ["org/qwen3-8b"]


def test_instances_where_they_can_be_named(cli: Cli) -> None:
    assert offered(cli, "lanhaven unload sm") == ["smollm2", "small"]
    assert offered(cli, "lanhaven load sm") == ["smollm2"]


def test_commands(cli: Cli) -> None:
    assert offered(cli, "lanhaven loa") == ["load"]
    assert offered(cli, "lanhaven keys r") == ["rm", "rotate"]


def test_without_a_server_what_it_named_the_last_time(cli: Cli, server: Scripted) -> None:
    offered(cli, "lanhaven show t")
    assert offered(cli, "lanhaven show t", LANHAVEN_URL="http://127.0.0.1:9") == ["tiny"]


def test_without_any_server_nothing(alone: Cli) -> None:
    assert offered(alone, "lanhaven show t", LANHAVEN_URL="http://127.0.0.1:9") == []
