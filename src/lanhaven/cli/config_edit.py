"""`config edit`: config.yaml or models.yaml in an editor, written back only when it is right."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from lanhaven.cli import output
from lanhaven.cli.failure import CliError, Exit

EDITORS = ("editor", "nano", "vi", "notepad")  # where neither variable names one


@dataclass(frozen=True, slots=True)
class Subject:
    """What is edited. `check` raises a GatewayError that names file and line."""

    file: Path
    starter: str
    check: Callable[[str, Path], object]
    taken_over: str


def edit(
    name: Annotated[str, typer.Argument(metavar="config|models", help="Which file.")] = "config",
) -> None:
    """Edit config.yaml or models.yaml with $VISUAL or $EDITOR; a wrong text is not kept."""
    from lanhaven.config.yaml_text import read_text

    subject, words = _subject(name), _editor()
    before = read_text(subject.file) if subject.file.exists() else ""
    folder = Path(mkdtemp(prefix="lanhaven-"))  # for this user alone: the file may hold keys
    draft = folder / subject.file.name
    draft.write_text(before or subject.starter, encoding="utf-8", newline="")
    if _written(subject, words, draft) in (before, before or subject.starter):
        output.message(f"{subject.file} is as it was")
    else:
        _keep(subject, before, draft)
        output.message(f"{subject.file} is right and written; {subject.taken_over}")
    shutil.rmtree(folder)


def _subject(name: str) -> Subject:
    from lanhaven.config import find_config_file, load_settings
    from lanhaven.config.sources import check_file
    from lanhaven.models_file.edit import STARTER
    from lanhaven.models_file.read import models_path, understood

    match name:
        case "config":
            starter = "# The settings of LanHaven: docs/configuration.md\n"
            return Subject(find_config_file(), starter, check_file, "it holds from the next start on")
        case "models":
            return Subject(
                models_path(load_settings()), STARTER, understood, "a server that runs takes it over by itself"
            )
    raise CliError(f"there is no file {name!r} to edit", "lanhaven config edit models", status=Exit.USAGE)


def _editor() -> list[str]:
    """The command, as words. CliError where there is none."""
    from lanhaven.config.environ import environment

    variables = environment()
    named = variables.get("VISUAL", "").strip() or variables.get("EDITOR", "").strip()
    words = shlex.split(named) if named else [each for each in EDITORS if shutil.which(each)][:1]
    if not words or shutil.which(words[0]) is None:
        told = f"the editor {named!r} is not here" if named else "there is no editor here"
        raise CliError(told, "EDITOR=nano lanhaven config edit", "lanhaven config path", status=Exit.NOT_FOUND)
    return words


def _written(subject: Subject, words: Sequence[str], draft: Path) -> str:
    """What the draft says when it is right. CliError if it is not, and nobody wants to go on with it."""
    from lanhaven.config.yaml_text import read_text
    from lanhaven.errors import GatewayError

    while True:
        status = _opened(words, draft)
        if status:  # vi's :cq means it: nothing of this is wanted
            shutil.rmtree(draft.parent)
            raise CliError(
                f"{words[0]} ended with status {status}; {subject.file} is as it was", "lanhaven config edit"
            )
        try:
            text = read_text(draft)
            subject.check(text, subject.file)
            return text
        except GatewayError as error:
            output.fail(CliError(error.message, *filter(None, [error.hint])))
            if not sys.stdin.isatty() or not typer.confirm("Edit it again?", default=True, err=True):
                raise _given_up(f"the text is wrong; {subject.file} is as it was", draft, Exit.USAGE) from None


def _opened(words: Sequence[str], draft: Path) -> int:
    """The editor's exit status. Its Ctrl-C comes to us too, and is not for us; SIG_IGN the editor would inherit."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([*words, str(draft)], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _keep(subject: Subject, before: str, draft: Path) -> None:
    from lanhaven.config import atomic
    from lanhaven.config.yaml_text import read_text

    with atomic.locked(subject.file):
        if (read_text(subject.file) if subject.file.exists() else "") != before:
            raise _given_up(f"{subject.file} was changed by somebody else meanwhile", draft, Exit.FAILED)
        atomic.write_text(subject.file, read_text(draft))


def _given_up(told: str, draft: Path, status: Exit) -> CliError:
    return CliError(told, "lanhaven config edit", f"what you wrote is in {draft}", status=status)
