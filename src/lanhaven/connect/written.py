"""What was written for which app, so that it can be taken back: a note in the state folder, and a copy beside the file.

The note holds keys that were made for apps too: a key is shown once, and the same command is to give the same text. It
lies where the run file lies, for its owner alone (0600), like the files of the apps that hold the key.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lanhaven.config import atomic
from lanhaven.errors import GatewayError, InstanceConflict, InternalError, InvalidRequest, NotFound

FILE_NAME = "connect.json"
LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Written:
    """One file that was written for an app. backup: the copy of what was there before, None if there was no file."""

    path: str
    backup: str | None
    digest: str  # SHA-256 of what was written


class Notes:
    """The notes of this user."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def key(self, app: str, url: str) -> str | None:
        """The key that was made for this app at this server."""
        key = self._read().get("keys", {}).get(f"{app} {url}")
        return key if isinstance(key, str) else None

    def keep_key(self, app: str, url: str, key: str | None) -> None:
        """Remember a key; None forgets it."""
        self._change("keys", f"{app} {url}", key)

    def written(self, app: str) -> Written | None:
        """What was written for this app."""
        said = self._read().get("files", {}).get(app)
        return Written(**said) if isinstance(said, dict) and said.keys() == {"path", "backup", "digest"} else None

    def keep_written(self, app: str, written: Written | None) -> None:
        """Remember a file; None forgets it."""
        self._change("files", app, asdict(written) if written is not None else None)

    def _read(self) -> dict[str, Any]:
        try:
            said = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def _change(self, part: str, name: str, value: Any) -> None:
        with atomic.locked(self._path):
            notes = self._read()
            notes[part] = {**notes.get(part, {}), name: value}
            notes[part] = {name: each for name, each in notes[part].items() if each is not None}
            atomic.write_text(self._path, json.dumps(notes, indent=2))


def read(path: Path) -> str | None:
    """The text of a file; None if there is none. InvalidRequest if it is none of text, or cannot be read."""
    try:
        if not path.is_file() and path.exists():
            raise InvalidRequest(f"{path} is not a file.", hint="move it away, or paste the text yourself")
        raw = path.read_bytes()
        if len(raw) > LARGEST:
            raise InvalidRequest(f"{path} is larger than 1 MiB.", hint="paste the text into it yourself")
        return raw.decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8.", hint="save it as UTF-8") from error
    except OSError as error:
        raise InternalError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error


def write(app: str, path: Path, before: str | None, after: str, notes: Notes) -> Written:
    """Put `after` into the file, a copy of `before` beside it. On any failure everything is as it was.

    Writing again over what was written before keeps the first copy, so that undoing goes back to what was there.
    InstanceConflict if the file is no longer `before`.
    """
    if read(path) != before:
        raise InstanceConflict(f"{path} was changed by somebody else meanwhile.", hint="try again")
    known = notes.written(app)
    own = known is not None and known.path == str(path) and before is not None and known.digest == digest(before)
    backup = known.backup if known is not None and own else None
    made = None
    if not own and before is not None:
        made = path.with_name(f"{path.name}.before-lanhaven-{app}")
        atomic.write_text(made, before)
        backup = str(made)
    written = Written(str(path), backup, digest(after))
    try:
        notes.keep_written(app, written)
        atomic.write_text(path, after)
    except GatewayError:
        if made is not None:
            with suppress(OSError):
                made.unlink()
        with suppress(GatewayError):
            notes.keep_written(app, known)
        raise
    return written


def undo(app: str, notes: Notes) -> Path:
    """Bring back what was there before; the file. NotFound, InstanceConflict if the file was changed since."""
    written = notes.written(app)
    if written is None:
        raise NotFound(f"Nothing was written for {app}.", hint=f"lanhaven connect {app} --write")
    path = Path(written.path)
    now = read(path)
    if now is None or digest(now) != written.digest:
        left = f"the file as it was is {written.backup}" if written.backup else "there was no file before"
        raise InstanceConflict(f"{path} was changed since, and stays as it is.", hint=f"{left}: mend it by hand")
    if written.backup is None:
        _remove(path)
    else:
        before = read(Path(written.backup))
        if before is None:
            raise NotFound(f"The copy {written.backup} is gone.", hint=f"mend {path} by hand")
        atomic.write_text(path, before)
        _remove(Path(written.backup))
    notes.keep_written(app, None)
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise atomic.refused(path, error) from error


def digest(text: str) -> str:
    """SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()
