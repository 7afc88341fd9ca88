"""`import`: models that are on the disk already, into a models.yaml."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lanhaven.cli import output, units
from lanhaven.cli.connection import Json
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.output import Column, Row

if TYPE_CHECKING:
    from lanhaven.config import Settings
    from lanhaven.importer import Imported, Root, Scan, Wishes
    from lanhaven.importer.found import Progress

OUTPUT = "models_imported.yaml"
SHOWN = 10  # reasons that are told without --log-level DEBUG
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LEVELS: tuple[Level, ...] = ("DEBUG", "INFO", "WARNING", "ERROR")
MODELS = (
    Column("MODEL", lambda m: m["id"], cut=True),
    Column("FORMAT", lambda m: m["format"]),
    Column("SIZE", lambda m: m["sizeBytes"], lambda m: units.size(m["sizeBytes"]), right=True),
    Column("QUANT", lambda m: m["quantization"], lambda m: m["quantization"] or "–", spare=True),
    Column("STATE", lambda m: m["state"]),
    Column("FROM", lambda m: m["store"], spare=True),
    Column("FILE", lambda m: m["path"], cut=True),
)


def import_models(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="DIR", help="Folders to look in.")] = None,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", metavar="DIR", help="A folder to look in; repeatable.")
    ] = None,
    hf_cache: Annotated[bool, typer.Option("--hf-cache", help="Look in Hugging Face's cache.")] = False,
    lmstudio: Annotated[bool, typer.Option("--lmstudio", help="Look in LM Studio's models.")] = False,
    ollama: Annotated[bool, typer.Option("--ollama", help="Look in Ollama's models.")] = False,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="P", help="How they run: fast, balanced, quality, memory or interactive."),
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--override", metavar="K=V", help="A setting for all of them; repeatable.")
    ] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Serve them at once.")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Add to models.yaml, and keep what is there.")] = False,
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help=f"The file to write (default {OUTPUT}).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="DEBUG tells all that was left out, ERROR nothing.")
    ] = "INFO",
    json: Json = False,
) -> None:
    """Find models that are on this machine already, and list them in a models.yaml; nothing is copied."""
    from lanhaven.config import load_settings
    from lanhaven.importer import scan

    level = _level(log_level)
    wishes = _wishes(profile, override or [], enable=enable)
    roots = _roots([*(folders or []), *(folder or [])], {"hf-cache": hf_cache, "lmstudio": lmstudio, "ollama": ollama})
    settings = load_settings()
    target = _target(settings, output_file, merge=merge)
    with _progress(told=level in ("DEBUG", "INFO") and not json) as progress:
        found = scan(roots, progress)
    imported = _import(target, found, wishes, merge=merge, dry_run=dry_run)
    wrote = bool(found.found) and imported.after != imported.before and not dry_run
    served = wrote and target == _target(settings, None, merge=True)
    if json:
        output.document(_document(target, found, imported, wrote=wrote, told=served and _tell()))
        if not found.found:
            raise typer.Exit(Exit.NOT_FOUND)
        return
    _tell_left_out(found, level)
    if not found.found:
        where = ", ".join(str(root.path) for root in roots)
        raise CliError(f"no model in {where}", "lanhaven get smollm2", status=Exit.NOT_FOUND)
    if dry_run:
        _diff(target, imported)
    else:
        output.rows(MODELS, _rows(found, imported), empty="")
    if level != "ERROR":
        for note in imported.notes:
            output.note(note)
    if level in ("DEBUG", "INFO"):
        _say_next(target, imported, dry_run=dry_run, merge=merge, told=served and _tell())


def tell_of_stores() -> None:
    """Say where models may be that other programs fetched; for a first start."""
    from lanhaven.config.environ import environment
    from lanhaven.importer import known_stores

    stores = ", ".join(sorted({root.store.value for root in known_stores(environment(), Path.home())}))
    if stores:
        output.message(f"models of other programs may be here ({stores}); to see them: lanhaven import --dry-run")
        output.message("  to serve them, where they lie:  lanhaven import --merge --enable")


def _level(text: str) -> Level:
    level = next((each for each in LEVELS if each == text.upper()), None)
    if level is None:
        raise CliError(f"there is no level {text!r}", f"--log-level {', '.join(LEVELS)}", status=Exit.USAGE)
    return level


def _wishes(profile: str | None, overrides: list[str], *, enable: bool) -> Wishes:
    from lanhaven.importer import Profile, Wishes, read_overrides

    chosen = next((each for each in Profile if each == profile), None)
    if profile is not None and chosen is None:
        raise CliError(f"there is no profile {profile!r}", f"--profile {', '.join(Profile)}", status=Exit.USAGE)
    return Wishes(chosen, read_overrides(overrides), enable)


def _roots(folders: list[Path], asked: dict[str, bool]) -> list[Root]:
    """What was asked for; all stores of this machine if nothing was. CliError 5 for what is not there."""
    from lanhaven.config.environ import environment
    from lanhaven.importer import Root, known_stores

    folders = [Path(os.path.expanduser(each)) for each in folders]  # noqa: PTH111 - Path's raises without a home
    for each in folders:
        if not os.path.isdir(each):  # noqa: PTH112 - Path.is_dir raises where it may not look
            raise CliError(f"there is no folder {each}", f"ls {each.parent}", status=Exit.NOT_FOUND)
    roots = [Root(each) for each in folders]
    everything = not folders and not any(asked.values())
    stores = known_stores(environment(), Path.home())
    for name, wanted in asked.items():
        mine = [each for each in stores if each.store == name]
        if wanted and not mine:
            raise CliError(
                f"there is no {name} folder on this machine", "lanhaven import --folder DIR", status=Exit.NOT_FOUND
            )
        roots += mine if wanted or everything else []
    if not roots:
        raise CliError(
            "there is no Hugging Face cache, LM Studio or Ollama here", "lanhaven import --folder DIR",
            "lanhaven get smollm2", status=Exit.NOT_FOUND,
        )  # fmt: skip
    return roots


def _target(settings: Settings, output_file: Path | None, *, merge: bool) -> Path:
    from lanhaven.models_file import models_path

    if output_file is not None:
        return output_file.expanduser().absolute()
    return models_path(settings).absolute() if merge else Path.cwd() / OUTPUT


def _import(target: Path, found: Scan, wishes: Wishes, *, merge: bool, dry_run: bool) -> Imported:
    from lanhaven.importer import preview, write

    if dry_run or not found.found:
        return preview(target, found.found, wishes, merge=merge)
    return write(target, found.found, wishes, merge=merge)


@contextmanager
def _progress(*, told: bool) -> Iterator[Progress]:
    """A line that counts, on a terminal."""
    if not told or not sys.stderr.isatty():
        yield lambda entries, models: None
        return
    with output.console(stderr=True).status("looking for models") as status:
        yield lambda entries, models: status.update(f"looking for models: {entries:,} files, {models:,} models")


def _rows(found: Scan, imported: Imported) -> list[Row]:
    """The models of the file, new ones first."""
    by_path = {str(each.path): each for each in found.found}
    new = [(entry["id"], by_path[entry["config"]["model_path"]], "new") for entry in imported.added]
    old = [(name, each, "enabled" if name in imported.woken else "listed") for name, each in imported.known]
    return [
        {
            "id": name,
            "format": each.format,
            "sizeBytes": each.size_bytes,
            "quantization": each.quantization,
            "state": state,
            "store": each.store.value,
            "path": str(each.path),
        }
        for name, each, state in (*new, *old)
    ]


def _document(target: Path, found: Scan, imported: Imported, *, wrote: bool, told: bool) -> Row:
    return {
        "output": str(target),
        "written": wrote,
        "models": _rows(found, imported),
        "leftOut": [{"path": each.path, "reason": each.reason} for each in found.left_out],
        "notes": list(imported.notes),
        "entriesLookedAt": found.entries,
        "serverTold": told,
    }


def _tell_left_out(found: Scan, level: Level) -> None:
    if level == "ERROR" or not found.left_out:
        return
    most = len(found.left_out) if level == "DEBUG" else SHOWN
    for each in found.left_out[:most]:
        output.note(f"left out: {each.path}: {each.reason}")
    if len(found.left_out) > most:
        output.note(f"{len(found.left_out) - most} more were left out; --log-level DEBUG tells them")


def _diff(target: Path, imported: Imported) -> None:
    import difflib

    lines = difflib.unified_diff(
        imported.before.splitlines(), imported.after.splitlines(), str(target), f"{target} (imported)", lineterm=""
    )
    for line in lines:
        output.data(line)


def _tell() -> bool:
    from lanhaven.cli.get import tell_server

    return tell_server()


def _say_next(target: Path, imported: Imported, *, dry_run: bool, merge: bool, told: bool) -> None:
    added, known = len(imported.added), len(imported.known)
    would = "would be " if dry_run else ""
    output.message(f"{added} {would}added to {target}, {known} listed already")
    asleep = [entry["id"] for entry in imported.added if not entry["enabled"]]
    if dry_run:
        output.message("  Try  the same without --dry-run")
    elif asleep:
        output.message(f"  Try  set `enabled: true` for those that you want, e.g. {asleep[0]}; or import with --enable")
    elif told:
        output.message("  Try  lanhaven ls")
    if not dry_run and not told:
        output.message("       lanhaven up" + ("" if merge else f" --models {target}"))
