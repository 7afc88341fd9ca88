"""What --help says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from lanhaven.cli import app
from lanhaven.cli.examples import EXAMPLES
from tests.cli.scripted import Cli

TREE = get_command(app.build())


def commands(group: object = TREE, before: str = "") -> Iterator[tuple[str, TyperCommand]]:
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{name} ")
        elif not command.hidden:
            assert isinstance(command, TyperCommand)
            yield f"{before}{name}", command


def test_every_command_has_examples_and_every_example_a_command() -> None:
    assert dict(commands()).keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_the_command_takes(name: str) -> None:
    command = dict(commands())[name]
    for example in EXAMPLES[name]:
        words = shlex.split(example.partition(" | ")[0].partition(" > ")[0])
        head = name.split()
        assert words[: len(head)] == head
        command.make_context(name, words[len(head) :])


def test_types_of_python_are_not_shown(alone: Cli) -> None:
    for name in ("load", "keys add", "discover", "import", "up", "chat"):
        text = alone(*name.split(), "--help").out
        assert not {"<str>", "<int", "<float", "<list", "{", "x<=", "x>="} & set(text.replace("[", " ").split())
        assert "<" not in text
    assert "lanhaven load [OPTIONS] MODEL\n" in alone("load", "--help").out
    assert "lanhaven logs [OPTIONS] [MODEL]\n" in alone("logs", "--help").out


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (("keys", "ad", "x"), "No such command 'ad'. Did you mean 'add'?", "lanhaven keys --help"),
        (("load",), "Missing argument MODEL.", "lanhaven load --help"),
        (("usage", "--by", "x"), "Invalid value for '--by': 'x' is not one of 'key', 'model', 'day'.", None),
        (("ping", "-n", "0"), "Invalid value for '--count' / '-n': must be greater than or equal to 1", None),
    ],
)
def test_wrong_usage_is_told_in_the_words_of_the_help(
    alone: Cli, words: tuple[str, ...], message: str, remedy: str | None
) -> None:
    done = alone(*words)
    assert done.status == 2
    first, second = done.err.splitlines()
    assert first == f"error: {message}"
    assert second == f"  Try  {remedy or f'lanhaven {words[0]} --help'}"


@pytest.mark.parametrize("group", ["keys", "config", "service"])
def test_a_group_alone_lists_its_commands_whole(alone: Cli, group: str) -> None:
    done = alone(group)
    assert (done.status, done.err) == (0, "")
    assert "Commands:" in done.out
    assert "..." not in done.out.partition("Commands:")[2]
