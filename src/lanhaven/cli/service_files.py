"""What starts the server with the machine or its user: texts alone."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path

UNIT = "lanhaven.service"
LABEL = "org.lanhaven.server"


def systemd_unit(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """A user unit of systemd. `command` begins with an absolute path."""
    lines = [
        "[Unit]",
        "Description=LanHaven, the language models of this network behind one server",
        "After=network-online.target",
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(map(_quoted, command))}",
        "ExecReload=kill -HUP $MAINPID",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in environment.items()),
        "Restart=on-failure",
        "RestartSec=3",
        # 2: wrong usage, 78: unsafe address. Trying again would not help.
        "RestartPreventExitStatus=2 78",
        "KillMode=mixed",
        "TimeoutStopSec=60",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def launchd_agent(command: Sequence[str], environment: Mapping[str, str], log: Path) -> str:
    """A launch agent of macOS."""
    agent = {
        "Label": LABEL,
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 60,
        "ProcessType": "Interactive",
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
        **({"EnvironmentVariables": dict(environment)} if environment else {}),
    }
    return plistlib.dumps(agent).decode("utf-8")


def _quoted(word: str) -> str:
    """As systemd reads it: % begins a specifier, $ a variable, quotes and backslashes are escapes."""
    text = word.replace("%", "%%").replace("$", "$$")
    if text and not any(sign in text for sign in " \t\n\"'\\;"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
