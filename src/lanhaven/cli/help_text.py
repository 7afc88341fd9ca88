"""How a command's --help reads: its arguments and options in a person's words, then examples."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lanhaven.cli.examples import EXAMPLES

WIDE = 120  # signs of a command's sentence in the list of commands; cut off at the full stop
# What typer calls the types of values.
_TYPES = {"str": "TEXT", "list[str]": "TEXT", "int": "N", "int range": "N", "float range": "SECONDS"}


class Command(TyperCommand):
    """One command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`MODEL`, where typer writes `{model}`."""
        return [_capital(piece.strip("{}").replace("}...", "...")) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Overrides typer's, which shows Python's types."""
        records = [(each, each.get_help_record(ctx)) for each in self.get_params(ctx)]
        arguments = [_argument(*found) for each, found in records if found and each.param_type_name == "argument"]
        options = [_option(*found) for each, found in records if found and each.param_type_name == "option"]
        for heading, lines in (("Arguments", arguments), ("Options", options)):
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)
        examples = EXAMPLES.get(ctx.command_path.removeprefix("lanhaven "), ())
        if examples:
            with formatter.section("Examples"):
                for line in examples:
                    formatter.write(f"{'':{formatter.current_indent}}lanhaven {line}\n")


class Group(TyperGroup):
    """Some commands under one word: their sentences are shown whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Overrides typer's, which cuts them to one line."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(WIDE)) for name, each in self.commands.items()])


def show_help(ctx: typer.Context) -> None:
    """The callback of a group: without a command it tells which there are."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _argument(name: str, text: str) -> tuple[str, str]:
    return _capital(name.partition(" <")[0]), _bounds(text).removesuffix("[required]").rstrip()


def _capital(name: str) -> str:
    """What is to be replaced is in capitals; words to choose among are as they are typed."""
    return name if "|" in name else name.upper()


def _option(name: str, text: str) -> tuple[str, str]:
    return re.sub(r"<(.+)>$", lambda found: _TYPES.get(found[1], found[1]), name), _bounds(text)


def _bounds(text: str) -> str:
    """1<=x<=100 as "1 to 100"; that something is not negative goes without saying."""
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", text)
    return re.sub(r"  \[x>=[\d.]+\]|; x>=[\d.]+", "", text)
