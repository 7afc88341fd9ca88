"""A repository in the cache of Hugging Face's hub: `models--ORG--NAME/{blobs,refs,snapshots/REVISION}`.

The files of a snapshot are links to blobs. Of several snapshots the one that refs/main names is taken, else the newest.
Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lanhaven.importer.look import Look

_FOLDER = re.compile(r"models--(?P<name>.+)", re.DOTALL)
_REVISION = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_REF = 256  # bytes


def repository_of(folder: Path) -> str | None:
    """ "org/name" if the folder's name is that of a repository in the cache."""
    match = _FOLDER.fullmatch(folder.name)
    return match["name"].replace("--", "/", 1) if match else None


def snapshot_of(look: Look, folder: Path, inside: Sequence[str]) -> Path | None:
    """The snapshot to take; None after noting the reason. `inside`: the folders in this one."""
    snapshots = {name: folder / "snapshots" / name for name in look.folders(folder / "snapshots")}
    if not snapshots:
        look.note(folder, "no snapshot in it: nothing was downloaded, or not to its end")
        return None
    told = "refs" in inside and "main" in look.names(folder / "refs")
    named = look.text(folder / "refs/main", _LONGEST_REF) if told else None
    revision = (named or b"").decode("ascii", "replace").strip()
    if _REVISION.fullmatch(revision) and revision in snapshots:
        return snapshots[revision]
    return max(snapshots.values(), key=_age)


def _age(folder: Path) -> tuple[float, str]:
    try:
        return folder.stat().st_mtime, folder.name
    except OSError:
        return 0.0, folder.name
