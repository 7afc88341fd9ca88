"""One look through one folder, which somebody else filled (F-167, F-168).

Nothing outside the root is opened: links to folders are not followed (what they lead to within the root is met anyway,
so there are no loops), links to files are resolved first and must stay inside. Only regular files are opened, without
waiting. Depth and number of entries are bounded. Whatever is left out is noted with its reason, and the look goes on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.gguf_model import GGUFModel, describe_gguf
from lanhaven.formats.gguf_source import open_regular
from lanhaven.importer.found import LeftOut, Progress, Root, shown

REPORT_EVERY = 512  # entries
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")  # F-170: unpickling runs code
OF_MODELS = (".gguf", ".safetensors", ".json", ".jinja", *UNSAFE)
OF_ANY = ("",)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one look, over all its roots for `entries`."""

    depth: int = 24
    entries: int = 1_000_000
    left_out: int = 10_000  # reasons that are kept
    models: int = 4_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in one folder: plain folders, and files of models (links to files among them), by name in order."""

    folder: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]


class Look:
    """What was seen so far. `inside` says which folder counts as home for links: the root, or its HF repository."""

    def __init__(self, limits: Limits, progress: Progress) -> None:
        self.limits = limits
        self.left_out: list[LeftOut] = []
        self.entries = 0
        self.models = 0
        self._progress = progress
        self._inside = Path("/")
        self._full = False

    def enter(self, root: Root) -> Path:
        """Begin with a root; its path without links."""
        path = Path(os.path.realpath(root.path))
        repository = next((each for each in (path, *path.parents) if each.name.startswith("models--")), None)
        self._inside = repository or path
        return path

    def note(self, path: Path, reason: str) -> None:
        """Leave something out."""
        if len(self.left_out) < self.limits.left_out:
            self.left_out.append(LeftOut(shown(path), reason))

    def found(self) -> bool:
        """Count a model; False if there are too many."""
        self.models += 1
        self._progress(self.entries, self.models)
        return self.models <= self.limits.models

    def listing(self, folder: Path, endings: tuple[str, ...] = OF_MODELS) -> Listing | None:
        """What lies there; None if enough has been seen before."""
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in self._counted(entries, folder):
                    if entry.is_symlink() and _leads_to_folder(entry):
                        self._folder_link(entry)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.name.lower().endswith(endings):
                        files.append(entry.name)
        except OSError as error:  # unreadable, or removed meanwhile
            self.note(folder, f"cannot be read: {error.strerror}")
        return None if self._full and not files else Listing(folder, tuple(sorted(folders)), tuple(sorted(files)))

    def folders(self, folder: Path) -> tuple[str, ...]:
        """The plain folders in a folder."""
        listing = self.listing(folder)
        return listing.folders if listing else ()

    def names(self, folder: Path) -> tuple[str, ...]:
        """Everything in a folder that is no folder, whatever it is called."""
        listing = self.listing(folder, OF_ANY)
        return listing.files if listing else ()

    def file(self, path: Path) -> tuple[Path, os.stat_result] | None:
        """A regular file within the root: its path without links, and what it is. None after noting the reason."""
        try:
            resolved = Path(os.path.realpath(path, strict=True))
            if not resolved.is_relative_to(self._inside):
                self.note(path, "a link that leads out of the folder; import the folder it leads to")
                return None
            status = resolved.stat()
            f"{path}{resolved}".encode()
        except FileNotFoundError:
            self.note(path, "a link to nothing (a download that was not finished?), or removed meanwhile")
        except OSError as error:
            self.note(path, f"cannot be read: {error.strerror}")
        except UnicodeEncodeError:
            self.note(path, "its name is not UTF-8, which models.yaml cannot hold; rename it")
        else:
            if stat.S_ISREG(status.st_mode):
                return resolved, status
            self.note(path, "not a regular file but a folder, a device, a pipe or a socket")
        return None

    def gguf(self, path: Path) -> tuple[GGUFModel, tuple[int, int]] | None:
        """The model in a file, read under its path without links; None after noting the reason."""
        at = self.file(path)
        if at is None:
            return None
        resolved, status = at
        split = "-00001-of-" in path.name  # the engine finds the other parts by this name
        try:
            model = describe_gguf(path if split else resolved)
        except InvalidModelFile as error:
            self.note(path, error.message)
            return None
        except OSError as error:  # a part in a folder that may be listed and not entered
            self.note(path, f"cannot be read: {error.strerror}")
            return None
        if split and any(self.file(part) is None for part in model.parts):
            return None
        after = self.file(path)
        if after is None or (after[0], after[1].st_ino, after[1].st_mtime_ns) != (
            resolved,
            status.st_ino,
            status.st_mtime_ns,
        ):
            self.note(path, "changed while it was looked at; import again when it is complete")
            return None
        return model, (status.st_dev, status.st_ino)

    def text(self, path: Path, most: int) -> bytes | None:
        """A small file; None after noting the reason."""
        at = self.file(path)
        if at is None:
            return None
        try:
            with open_regular(at[0]) as file:
                data = file.read(most + 1) or b""
        except InvalidModelFile as error:
            self.note(path, error.message)
            return None
        except OSError as error:
            self.note(path, f"cannot be read: {error.strerror}")
            return None
        if len(data) > most:
            self.note(path, f"longer than {most} bytes")
            return None
        return data

    def _counted(self, entries: Iterator[os.DirEntry[str]], folder: Path) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            if self.entries >= self.limits.entries:
                if not self._full:
                    self.note(folder, f"more than {self.limits.entries} entries: the rest was not looked at")
                self._full = True
                return
            self.entries += 1
            if self.entries % REPORT_EVERY == 0:
                self._progress(self.entries, self.models)
            yield entry

    def _folder_link(self, entry: os.DirEntry[str]) -> None:
        if not Path(os.path.realpath(entry.path)).is_relative_to(self._inside):
            self.note(Path(entry.path), "a link that leads out of the folder; import the folder it leads to")


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:  # a ring of links
        return False
