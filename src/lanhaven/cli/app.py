"""The command tree, and how a command ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer

from lanhaven.cli import output
from lanhaven.cli.examples import EXAMPLES
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.help_text import WIDE, Command, Group
from lanhaven.errors import GatewayError, InvalidRequest, NotFound

EXIT_STATUSES = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "wrong usage, or a wrong setting"),
    ("3", "server not reachable"),
    ("4", "not authorised"),
    ("5", "not found"),
    ("6", "the model failed to load or does not fit"),
    ("78", "unsafe: an open address without a strong key"),
    ("130", "interrupted"),
)

# Section of the help, name, module and function. An alias has no section and is not listed.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("Server", "up", "up:up"),
    ("", "serve", "up:up"),
    ("Server", "down", "down:down"),
    ("Server", "status", "status:status"),
    ("Server", "open", "opening:open_dashboard"),
    ("Server", "ping", "ping:ping"),
    ("Server", "watch", "watch:watch"),
    ("Server", "discover", "discover:discover"),
    ("Server", "logs", "logs:logs"),
    ("Server", "history", "history:history"),
    ("Server", "inspect", "history:inspect"),
    ("Server", "usage", "usage:usage"),
    ("Server", "doctor", "doctor:doctor"),
    ("Models", "ls", "models:ls"),
    ("", "models", "models:ls"),
    ("Models", "ps", "models:ps"),
    ("Models", "show", "models:show"),
    ("Models", "load", "load:load"),
    ("Models", "unload", "load:unload"),
    ("Models", "activate", "load:activate"),
    ("Models", "reload", "reload:reload"),
    ("Models", "get", "get:get"),
    ("Models", "import", "importing:import_models"),
    ("Models", "add", "models_edit:add"),
    ("Models", "set", "models_edit:set_fields"),
    ("Models", "rm", "models_edit:rm"),
    ("Models", "models-sync", "models_sync:models_sync"),
    ("Use", "chat", "chat:chat"),
    ("Use", "embed", "embed:embed"),
    ("Use", "bench", "bench:bench"),
    ("Use", "connect", "connect:connect"),
    ("Use", "mock", "mock:mock"),
    ("Settings", "version", "status:version"),
)
GROUPS: tuple[tuple[str, str, str], ...] = (
    ("Server", "service", "service:commands"),
    ("Settings", "keys", "keys:commands"),
    ("Settings", "config", "config:commands"),
)


class Commands(Group):
    """The root group: its help lists the commands by section, then the exit statuses."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Overrides the flat list."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for section, name in [(section, name) for section, name, _ in (*COMMANDS, *GROUPS) if section]:
            command = self.commands[name]
            sections.setdefault(section, []).append((name, command.get_short_help_str(WIDE)))
        for section, lines in sections.items():
            with formatter.section(section):
                formatter.write_dl(lines)
        with formatter.section("Exit status"):
            formatter.write_dl(EXIT_STATUSES)


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """The tree; if the first argument names a command or a group, with no other: to import and read all of them takes
    as long as all else before a command begins. Plain help: rich's takes 220 ms to import.
    """
    app = typer.Typer(
        name="lanhaven",
        cls=Commands,
        help="The language models of a LAN behind one well-behaved server. To begin: lanhaven up",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback(invoke_without_command=True)(_root)
    known = {name for _, name, _ in (*COMMANDS, *GROUPS)}
    wanted = known & set(arguments[:1]) or known
    for section, name, place in COMMANDS:
        if name in wanted:
            app.command(name, cls=Command, hidden=not section)(_load(place))
    for _, name, place in GROUPS:
        if name in wanted:
            app.add_typer(_load(place)(), name=name)
    return app


def _load(place: str) -> Callable[..., Any]:
    """What a line of COMMANDS or GROUPS names."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = vars(import_module(f"lanhaven.cli.{module}"))[name]
    return found


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status. Writes failures to stderr, each with what to try next."""
    output.prepare_streams()
    try:
        result = build(arguments)(list(arguments), prog_name="lanhaven", standalone_mode=False)
        output.close_quietly()
        return result if isinstance(result, int) else Exit.DONE
    except CliError as error:
        output.fail(error)
        return error.status
    except GatewayError as error:  # settings, models.yaml and the parts of the server used here speak in these
        status = _status_of(error)
        usual = _help_for(arguments) if status is Exit.USAGE else "lanhaven doctor"
        output.fail(CliError(error.message, error.hint or usual))
        return status
    except typer.TyperException as error:
        output.fail(CliError(_worded(error.format_message()), _help_for(arguments), status=Exit.USAGE))
        return error.exit_code
    except typer.Abort:
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _status_of(error: GatewayError) -> Exit:
    if error.code == "unsafe_bind":
        return Exit.UNSAFE_BIND
    match error:
        case InvalidRequest():
            return Exit.USAGE
        case NotFound():
            return Exit.NOT_FOUND
        case _:
            return Exit.FAILED


def _root(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if version:
        from lanhaven.cli import status

        status.version(json=False)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _help_for(arguments: Sequence[str]) -> str:
    """The --help of the command that was meant."""
    names = {name for _, name, _ in COMMANDS}
    groups = {name for _, name, _ in GROUPS}
    words = [each for each in arguments if not each.startswith("-")]
    if words and words[0] in names:
        return f"lanhaven {words[0]} --help"
    if words and words[0] in groups:
        command = " ".join(words[:2])
        return f"lanhaven {command if command in EXAMPLES else words[0]} --help"
    return "lanhaven --help"


def _worded(message: str) -> str:
    """Typer's words for wrong usage, with arguments called as in the help, and without Python's exceptions."""
    message = re.sub(r"argument '(\w+)'", lambda found: f"argument {found[1].upper()}", message)
    return message.replace(": Value error, ", ": ").replace(": Input should be ", ": must be ")
