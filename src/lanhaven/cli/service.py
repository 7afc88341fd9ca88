"""`service`: the server as something that starts by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lanhaven.cli import output, service_files
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.help_text import Command, Group, show_help

KEPT = ("LANHAVEN_CONFIG", "LANHAVEN_CONFIG_DIR", "LANHAVEN_DATA_DIR", "LANHAVEN_STATE_DIR", "LANHAVEN_CACHE_DIR")


@dataclass(frozen=True, slots=True)
class Kind:
    """A system's own way. Commands: what runs after the file is written, before it goes, and to look at it."""

    name: str
    path: Path
    text: str
    install: tuple[tuple[str, ...], ...]
    uninstall: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    logs: tuple[str, ...]


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(cls=Group, help="Start the server with the machine.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(show_help)
    group.command("install", cls=Command)(install)
    group.command("uninstall", cls=Command)(uninstall)
    group.command("status", cls=Command)(status)
    group.command("logs", cls=Command)(logs)
    return group


def install(
    lan: Annotated[bool, typer.Option("--lan", help="Let other machines in; needs a key.")] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Serve HTTPS.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Show the file, and change nothing.")] = False,
) -> None:
    """Start the server now and at every login (systemd: at every boot, after the command that is shown)."""
    kind = _kind((*(["--lan"] if lan else []), *(["--tls"] if tls else [])), needed=not show)
    if show:
        print(kind.text, end="")
        return
    if lan:
        _require_key()
    before = kind.path.read_text(encoding="utf-8") if kind.path.exists() else None
    same = before == kind.text
    if not same:
        if before is not None:
            _stop(kind)
        kind.path.parent.mkdir(parents=True, exist_ok=True)
        kind.path.write_text(kind.text, encoding="utf-8")
    output.message(f"{kind.path} {'is as it should be' if same else 'written'}")
    for command in kind.install:
        _run(command, kind)
    output.message("the server starts by itself from now on; lanhaven service status shows it")
    if kind.name == "systemd" and not _lingers():
        output.message("to start it with the machine, before anybody logs in:  loginctl enable-linger")


def uninstall() -> None:
    """Stop the server and start it no more. Models, keys and settings stay."""
    kind = _kind(())
    if not kind.path.exists():
        output.message("there is no service: nothing to do")
        return
    _stop(kind)
    kind.path.unlink()
    output.message(f"{kind.path} removed")


def status() -> None:
    """How the service is."""
    kind = _installed()
    raise typer.Exit(subprocess.run(kind.status, check=False).returncode)


def logs(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many lines.")] = 200,
) -> None:
    """What the service wrote."""
    kind = _installed()
    command = (*kind.logs, "-n", str(lines), *(["-f"] if follow else []))
    if kind.name == "launchd":
        command = (*command, str(_agent_log()))
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _installed() -> Kind:
    kind = _kind(())
    if not kind.path.exists():
        raise CliError("there is no service", "lanhaven service install", status=Exit.NOT_FOUND)
    return kind


def _kind(flags: tuple[str, ...], *, needed: bool = True) -> Kind:
    """This system's own; not `needed`: its text is all that is wanted."""
    command = (*program(), "up", "--no-open", *flags)
    if sys.platform == "darwin":
        return _launchd(command)
    if sys.platform == "win32" or (needed and shutil.which("systemctl") is None):
        raise CliError(
            f"services are made for systemd and launchd, which {sys.platform} here has not",
            "packaging/windows/install-task.ps1    (Windows)",
            "packaging/docker-compose.yaml         (containers)",
        )
    return _systemd(command)


def program() -> tuple[str, ...]:
    """How this very installation is started, with full paths: services know no PATH of ours."""
    script = Path(sys.executable).parent / "lanhaven"
    return (str(script),) if script.exists() else (sys.executable, "-m", "lanhaven")


def _environment() -> dict[str, str]:
    from lanhaven.config.environ import environment

    known = environment()
    return {name: known[name] for name in KEPT if known.get(name)}


def _systemd(command: tuple[str, ...]) -> Kind:
    from lanhaven.config.environ import environment

    home = environment().get("XDG_CONFIG_HOME") or "~/.config"
    unit = service_files.UNIT
    user = ("systemctl", "--user")
    return Kind(
        name="systemd",
        path=Path(home).expanduser() / "systemd/user" / unit,
        text=service_files.systemd_unit(command, _environment()),
        install=((*user, "daemon-reload"), (*user, "enable", "--now", unit)),
        uninstall=((*user, "disable", "--now", unit), (*user, "daemon-reload")),
        status=(*user, "--no-pager", "status", unit),
        logs=("journalctl", "--user", "--no-pager", "-u", unit),
    )


def _launchd(command: tuple[str, ...]) -> Kind:
    path = Path("~/Library/LaunchAgents").expanduser() / f"{service_files.LABEL}.plist"
    domain = f"gui/{os.getuid()}" if sys.platform != "win32" else ""
    return Kind(
        name="launchd",
        path=path,
        text=service_files.launchd_agent(command, _environment(), _agent_log()),
        install=(("launchctl", "bootstrap", domain, str(path)),),
        uninstall=(("launchctl", "bootout", f"{domain}/{service_files.LABEL}"),),
        status=("launchctl", "print", f"{domain}/{service_files.LABEL}"),
        logs=("tail",),
    )


def _agent_log() -> Path:
    return Path("~/Library/Logs/lanhaven.log").expanduser()


def _require_key() -> None:
    """`up --lan` would make one and show it once: in a log, where nobody looks and everybody may."""
    from lanhaven.config import load_settings
    from lanhaven.keys.store import KeyStore

    settings = load_settings({"lan": True})
    if settings.api_key is None and not KeyStore.from_settings(settings).list():
        raise CliError("there is no key, and others would be let in", "lanhaven keys add NAME")


def _stop(kind: Kind) -> None:
    for command in kind.uninstall:
        subprocess.run(command, check=False, capture_output=True)


def _run(command: tuple[str, ...], kind: Kind) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode and "already" not in result.stderr:
        reason = (result.stderr or result.stdout).strip().partition("\n")[0]
        raise CliError(
            f"{' '.join(command)} failed: {reason}",
            f"the file is there: {kind.path}",
            "log in directly, not by sudo",
        )


def _lingers() -> bool:
    from lanhaven.config.environ import environment

    user = environment().get("USER", "")
    return bool(user) and Path("/var/lib/systemd/linger", user).exists()
