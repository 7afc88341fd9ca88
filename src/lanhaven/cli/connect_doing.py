"""What `connect` does with a recipe: shows it, writes it into a file, takes it back, starts the app."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from lanhaven.cli import output
from lanhaven.cli.connect_asking import Connected
from lanhaven.cli.connection import state_folder
from lanhaven.cli.failure import CliError, Exit
from lanhaven.config.environ import environment
from lanhaven.connect import written
from lanhaven.connect.document import app_json
from lanhaven.connect.edit import edited, with_block
from lanhaven.connect.placing import path_of, profile_of
from lanhaven.connect.recipe import Place, Recipe, Run, Step, StepKind
from lanhaven.connect.steps import snippet
from lanhaven.errors import InvalidRequest


def describe(recipe: Recipe, place: Place) -> None:
    """The recipe as JSON, with {{key}} where the key goes."""
    output.document(app_json(recipe, place))


def show(recipe: Recipe, connected: Connected) -> None:
    """The text that holds the address to stdout; what else is to be done to stderr."""
    steps = recipe.steps(connected.place)
    main = snippet(steps)
    for step in steps:
        if step is main:
            output.message(f"# {step.title}:")
            output.data(step.text.rstrip("\n"))
        elif step.kind is not StepKind.FILE:
            output.message(f"# {step.title}:\n{step.text.rstrip()}")
    written_down = _written(steps)
    if written_down is not None:
        output.message(f"# lanhaven connect {recipe.id} --write puts it into {_path(written_down)}")


# ---- writing


def _written(steps: Sequence[Step]) -> Step | None:
    """The step that can be written: a file, else variables; None if the app reads no such file."""
    files = (each for each in steps if each.kind is StepKind.FILE)
    return next(files, None) or next((each for each in steps if each.environment), None)


def to_write(recipe: Recipe, place: Place) -> Step:
    """The step that --write does. CliError if there is none."""
    step = _written(recipe.steps(place))
    if step is None:
        raise CliError(
            f"{recipe.name} reads no file that could be written: do it by hand",
            f"lanhaven connect {recipe.id} (shows what to enter)", status=Exit.USAGE,
        )  # fmt: skip
    return step


def write(recipe: Recipe, place: Place, *, yes: bool) -> None:
    """Show what would change, ask, and do it; a copy of what was there stays beside it."""
    step = to_write(recipe, place)
    path = _path(step)
    before = written.read(path)
    after = _after(recipe, step, path, before or "")
    if after == before:
        output.message(f"{path} says so already")
        return
    _diff(path, before or "", after)
    if not yes and not _agreed(path):
        raise CliError("nothing was changed", f"lanhaven connect {recipe.id}", status=Exit.FAILED)
    done = written.write(recipe.id, path, before, after, written.Notes(state_folder()))
    kept = f"; as it was: {done.backup}" if done.backup else ""
    output.message(f"wrote {path}{kept}")
    output.message(f"  Try  {'a new shell' if step.where is None else f'{recipe.name}, started anew'}")
    output.message(f"       lanhaven connect {recipe.id} --undo takes it back")


def _path(step: Step) -> Path:
    """On this machine."""
    said, home = environment(), Path.home()
    return path_of(step.where, said, home, sys.platform) if step.where is not None else profile_of(said, home)


def _after(recipe: Recipe, step: Step, path: Path, before: str) -> str:
    if step.where is None:
        return with_block(before, step.text, recipe.id)
    try:
        return edited(before, step.text, step.language, step.keep)
    except InvalidRequest as error:
        output.data(step.text.rstrip("\n"))
        raise CliError(f"{path}: {error.message}; nothing was changed", "paste the text above into it") from None


def _diff(path: Path, before: str, after: str) -> None:
    old, new = before.splitlines(), after.splitlines()
    for line in difflib.unified_diff(old, new, str(path), f"{path} (connected)", lineterm=""):
        output.data(line)


def _agreed(path: Path) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise CliError(f"{path} is changed only if somebody agrees", "--yes", status=Exit.USAGE)
    return typer.confirm(f"Write {path}?", default=True, err=True)


def undo(recipe: Recipe) -> None:
    """Bring back the file as it was."""
    path = written.undo(recipe.id, written.Notes(state_folder()))
    output.message(f"{path} is as it was" if path.exists() else f"{path} is gone: there was none before")


# ---- running


def to_run(recipe: Recipe, place: Place) -> tuple[str, Run]:
    """The program that --run starts, and how. CliError if it cannot."""
    if recipe.run is None:
        raise CliError(
            f"{recipe.name} cannot be started connected from a shell",
            f"lanhaven connect {recipe.id}",
            status=Exit.USAGE,
        )
    order = recipe.run(place)
    program = shutil.which(order.program)
    if program is None:
        raise CliError(
            f"{order.program} is not installed here",
            f"install {recipe.name}, or lanhaven connect {recipe.id} to see its settings", status=Exit.NOT_FOUND,
        )  # fmt: skip
    return program, order


def run(recipe: Recipe, place: Place, arguments: Sequence[str]) -> None:
    """Become the app, with what connects it in its environment or its options. Returns only if it cannot be started."""
    program, order = to_run(recipe, place)
    words = [program, *order.arguments, *arguments]
    variables = {**environment(), **order.environment}
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform == "win32":  # exec there returns to the shell at once, and leaves the app behind
        raise typer.Exit(subprocess.run(words, env=variables, check=False).returncode)
    os.execve(program, words, variables)  # noqa: S606 - a list of arguments, no shell
