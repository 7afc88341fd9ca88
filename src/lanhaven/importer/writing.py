"""What was found, into a models.yaml: new files are added, those that it lists already are left as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.config import atomic
from lanhaven.config.yaml_text import read_text
from lanhaven.errors import InvalidRequest
from lanhaven.importer.entries import entry_of
from lanhaven.importer.found import Found
from lanhaven.importer.naming import Names
from lanhaven.importer.overrides import Override
from lanhaven.importer.profiles import Profile, profiled
from lanhaven.models_file import Editor, edit
from lanhaven.models_file.edit import STARTER

HEAD = """\
# Written by `lanhaven import`. Entries with `enabled: false` are not served; docs/import.md says more.

models: []
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How entries are to be. enabled: also those that are listed already, where they are found again."""

    profile: Profile | None = None
    overrides: tuple[Override, ...] = ()
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did to a file, or would do. known: (id, what was found again); woken: those of them that were
    disabled and are enabled now."""

    before: str
    after: str
    added: tuple[Mapping[str, Any], ...]
    known: tuple[tuple[str, Found], ...]
    woken: tuple[str, ...]
    notes: tuple[str, ...]


def write(path: Path, found: Sequence[Found], wishes: Wishes, *, merge: bool) -> Imported:
    """Write the file, once and whole, under its lock. InvalidRequest where it is wrong, or not ours to replace."""
    if merge:
        with edit(path) as editor:
            return _added(editor, found, wishes, _read(path))
    with atomic.locked(path):
        imported = preview(path, found, wishes, merge=False)
        if imported.after != imported.before:
            atomic.write_text(path, imported.after)
        return imported


def preview(path: Path, found: Sequence[Found], wishes: Wishes, *, merge: bool) -> Imported:
    """The same, without writing."""
    before = _read(path)
    editor = Editor((before.replace("\r\n", "\n") or STARTER) if merge else HEAD, path)
    imported = _added(editor, found, wishes, before)
    if not merge and found and before not in ("", imported.after):  # what somebody changed in it would be lost
        raise InvalidRequest(
            f"{path} is there already, with something else in it",
            param="output",
            hint=f"--merge --output {path} adds to it; --output NAME writes another file",
        )
    return imported


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""


def _added(editor: Editor, found: Sequence[Found], wishes: Wishes, before: str) -> Imported:
    listed = editor.models.entries
    places = {identity: each.id for each in listed if (identity := _identity(each.config.get("model_path")))}
    names = Names({name for each in listed for name in (each.id, *each.aliases)})
    known = tuple((places[each.identity], each) for each in found if each.identity in places)
    new = [each for each in found if each.identity not in places]
    given = [(names.give(each.named), each) for each in new]  # every id before any alias
    entries = []
    for name, each in given:
        aliases = [alias for alias in each.named.aliases if names.free(alias)]
        parts = profiled(wishes.profile, each.format)
        entries.append(entry_of(each, name, aliases, parts, wishes.overrides, enabled=wishes.enabled))
    editor.add(*entries)
    asleep = {each.id for each in listed if not each.enabled}
    woken = tuple(name for name, _ in known if wishes.enabled and name in asleep)
    if woken:
        editor.update_all(woken, {"enabled": True})
    return Imported(before, editor.text, tuple(entries), known, woken, _notes(given, wishes))


def _identity(path: object) -> tuple[int, int] | None:
    """Device and inode of the file or folder that an entry names."""
    try:
        status = Path(path).expanduser().stat() if isinstance(path, str) and path else None
    except (OSError, ValueError, RuntimeError):  # a name on a hub, a file that is gone, a home that is not there
        return None
    return (status.st_dev, status.st_ino) if status is not None else None


def _notes(given: Sequence[tuple[str, Found]], wishes: Wishes) -> tuple[str, ...]:
    notes = [f"{name}: {remark}" for name, each in given for remark in each.remarks]
    formats = sorted({each.format for _, each in given})
    for form in formats:
        notes += [f"profile {wishes.profile}, {form}: {text}" for text in profiled(wishes.profile, form).untold]
    for override in wishes.overrides:
        if given and not override.formats & set(formats):
            notes.append(
                f"override {override.name}: no model that was found has it ({', '.join(override.formats)} only)"
            )
    return tuple(notes)
