"""How the command line writes: data to stdout, everything else to stderr.

A table on a terminal; in a pipe one line per row, columns separated by tabs, raw values (bytes, seconds), no heading;
`--json` writes one document. Colour only on a terminal and never with NO_COLOR.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Literal, TextIO

from lanhaven.cli.failure import CliError
from lanhaven.cli.fitting import GAP, fitted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = Mapping[str, Any]
Text = Callable[[Row], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `raw` reads the value that a pipe gets; `text` what a person sees (the raw value if not given).

    On a terminal too narrow for all, spare columns are left out, the last one first; then those are cut that may be.
    """

    heading: str
    raw: Callable[[Row], object]
    text: Callable[[Row], str] | None = None
    right: bool = False
    spare: bool = False
    cut: bool = False


def prepare_streams() -> None:
    """A sign the terminal's encoding lacks becomes "?", not a UnicodeEncodeError (Windows code pages)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def printable(text: str) -> str:
    """Without control characters other than line feed and tab: names and answers must not steer the terminal."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t" or ord(char) > 0x9F)


def message(text: str) -> None:
    """A line for the person; never data."""
    print(printable(text), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """A line worth a look though nothing failed."""
    _styled(sys.stderr, [("note: ", "yellow"), (text, "")])


def aside(text: str, end: str = "\n") -> None:
    """Something dim on stderr, on a terminal only: figures, thoughts."""
    if text and sys.stderr.isatty():
        from rich.text import Text

        console(stderr=True).print(Text(printable(text), style="dim"), soft_wrap=True, end=end)


def fail(error: CliError) -> None:
    """The failure, and what to try next."""
    _styled(sys.stderr, [("error: ", "bold red"), (error.message, "")])
    for index, step in enumerate(error.tries):
        _styled(sys.stderr, [("  Try  " if index == 0 else "       ", "dim"), (step, "")])


def document(value: object) -> None:
    """`--json`: one JSON document, indented on a terminal."""
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def line(value: object) -> None:
    """One line of NDJSON, sent at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def data(text: str) -> None:
    """One line of data."""
    print(printable(text), flush=True)


def rows(columns: Sequence[Column], records: Sequence[Row], *, empty: str) -> None:
    """A table, or tab-separated lines in a pipe; `empty` is told on stderr when there is nothing to show."""
    if not records:
        message(empty)
    elif sys.stdout.isatty():
        console().print(table(columns, records))
    else:
        for record in records:
            print("\t".join(cell(column.raw(record)) for column in columns))


def pairs(fields: Sequence[tuple[str, object]]) -> None:
    """Names and values, one a line; fields without a value (None) are left out."""
    shown = [(name, value) for name, value in fields if value is not None]
    if not sys.stdout.isatty():
        for name, value in shown:
            print(f"{name}\t{cell(value)}")
        return
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        _styled(sys.stdout, [(name.ljust(width + 2), "dim"), (str(value), "")])


def table(columns: Sequence[Column], records: Sequence[Row]) -> Table:
    """The rich table itself, without borders, as wide as the terminal at most."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [[_shown(column, record) for record in records] for column in columns]
    widths = [max(map(cell_len, (column.heading, *texts))) for column, texts in zip(columns, cells, strict=True)]
    spare = [index for index, column in enumerate(columns) if column.spare]
    cut = [index for index, column in enumerate(columns) if column.cut]
    fitting = fitted(widths, spare, cut, console().width)
    result = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index, width in fitting.items():
        side: Literal["left", "right"] = "right" if columns[index].right else "left"
        result.add_column(columns[index].heading, justify=side, overflow="ellipsis", no_wrap=True, width=width)
    for row in zip(*(cells[index] for index in fitting), strict=True):
        result.add_row(*(Text(cell) for cell in row))
    return result


def _shown(column: Column, record: Row) -> str:
    return printable(column.text(record) if column.text else cell(column.raw(record)))


def console(*, stderr: bool = False) -> Console:
    """A rich console: it reads NO_COLOR and the terminal's width itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)


def parts(pieces: Sequence[tuple[str, str]]) -> None:
    """One line of data in several styles: (text, style) each."""
    _styled(sys.stdout, pieces)


def banner(pieces: Sequence[tuple[str, str]]) -> None:
    """One line for the person in several styles: (text, style) each."""
    _styled(sys.stderr, pieces)


def write_now(text: str) -> None:
    """A piece of an answer as it streams in."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def close_quietly() -> None:
    """Flush; whoever read our output may have left (`| head`), which is no failure of ours."""
    with suppress(BrokenPipeError):
        sys.stdout.flush()


def _styled(stream: TextIO, pieces: Sequence[tuple[str, str]]) -> None:
    if not stream.isatty():
        print(printable("".join(text for text, _ in pieces)), file=stream, flush=True)
        return
    from rich.text import Text

    line_of_text = Text.assemble(*((printable(text), style) for text, style in pieces))
    console(stderr=stream is sys.stderr).print(line_of_text, soft_wrap=True)


def cell(value: object) -> str:
    """A value on one line: no tabs or line breaks inside."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ",".join(cell(each) for each in value)
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return printable(" ".join(str(value).split()))
