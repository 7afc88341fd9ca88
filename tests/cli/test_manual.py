"""docs/cli.md names every command, option and exit status, and nothing that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lanhaven.cli import app
from lanhaven.cli.failure import Exit
from tests.cli.scripted import ROOT, Cli

MANUAL = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
EVERYWHERE = {"--help", "--json", "--url", "--key"}


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", MANUAL, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands() -> list[str]:
    return [name for section, name, _ in app.COMMANDS if section] + [name for _, name, _ in app.GROUPS]


def options(cli: Cli, command: str) -> Iterator[str]:
    text = cli(command, "--help").out
    for sub in re.findall(r"^  ([a-z]+)  ", text.partition("Commands:")[2], re.MULTILINE):
        yield from re.findall(r"--[a-z][a-z-]+", cli(command, sub, "--help").out.partition("Options:")[2])
    yield from re.findall(r"^  .*?(--[a-z][a-z-]+)", text.partition("Options:")[2], re.MULTILINE)


@pytest.mark.parametrize("command", commands())
def test_every_command_with_its_options_has_a_section_with_an_example(alone: Cli, command: str) -> None:
    section = sections()[command]
    assert f"\nlanhaven {command}" in section
    missing = {each for each in options(alone, command) if each not in section} - EVERYWHERE
    assert not missing


def test_every_section_is_a_command() -> None:
    assert set(sections()) == {"What holds for all", *commands()}


def test_every_exit_status() -> None:
    told = re.findall(r"^\| (\d+) \|", sections()["What holds for all"], re.MULTILINE)
    assert [int(each) for each in told] == sorted(Exit)
