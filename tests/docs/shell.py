"""Shell blocks as commands, and what kind of command each is."""

from __future__ import annotations

import re
import shlex
import subprocess
from enum import StrEnum

CARRIED = re.compile(r"^(?:export )?[A-Za-z_]\w*=")
LASTING = re.compile(
    r"^(?:lanhaven watch\b|lanhaven logs .*(?:--follow|-f)\b|lanhaven ps .*(?:--watch|-w\b)|curl (?:\S+ )*-N\b)"
)
STARTING = re.compile(r"^lanhaven (?:up|serve|mock)\b")

# Commands that no test can run, and why.
NEVER = {"scripts/test": "it runs this very test"}


class Kind(StrEnum):
    """How a command is run."""

    PLAIN = "plain"  # to its end, which must be a success
    LASTING = "lasting"  # until it has said something
    STARTING = "starting"  # a server of its own: until it is ready
    TALK = "talk"  # asks for a line, answers, asks again
    NEVER = "never"


def kind(command: str) -> Kind:
    """Of one command, as `commands` gives it."""
    if command.split("#")[0].strip() in NEVER:
        return Kind.NEVER
    if STARTING.match(command):
        return Kind.STARTING
    if LASTING.match(command):
        return Kind.LASTING
    return Kind.TALK if is_talk(command) else Kind.PLAIN


def is_talk(command: str) -> bool:
    """`lanhaven chat` with nothing to ask: neither a prompt nor a pipe."""
    words = shlex.split(command, comments=True)
    if words[:2] != ["lanhaven", "chat"] or "|" in words:
        return False
    rest = iter(words[2:])
    positional = []
    for word in rest:
        if word in ("-s", "--system", "--set"):
            next(rest)
        else:
            positional.append(word)
    return len(positional) <= 1 and not any(" " in word or word.startswith("-") for word in positional)


def commands(text: str) -> list[str]:
    """The commands of a block, each with its continuation lines; comments and empty lines are left out.

    `./lanhaven` is the checkout's own spelling of the command that is installed.
    """
    found, parts = [], ""
    for line in text.splitlines():
        if not parts and (not line.strip() or line.lstrip().startswith("#")):
            continue
        parts += line + "\n"
        if not line.endswith("\\") and is_whole(parts):
            found.append(re.sub(r"(?m)^\./lanhaven\b", "lanhaven", parts.strip()))
            parts = ""
    if parts:
        raise ValueError(f"the block ends within a command: {parts!r}")
    return found


def is_whole(command: str) -> bool:
    """Whether the shell takes this as finished: no open quote, no open block."""
    return subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False).returncode == 0


def carried(command: str) -> bool:
    """Whether later commands of the block need it: it sets a variable and does nothing else."""
    return CARRIED.match(command) is not None
