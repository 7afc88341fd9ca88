"""Models in several files: `name-00001-of-00003.gguf` and so on, each a GGUF file with its number in the header."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from lanhaven.formats.gguf import GGUFHeader
from lanhaven.formats.gguf_source import Reason, bad

MAX_PARTS = 512
_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.DOTALL | re.IGNORECASE)


def is_later_part(path: Path) -> bool:
    """Whether the name says part 2 or higher: such files are no models of their own, lists hide them."""
    match = _NAME.fullmatch(path.name)
    return match is not None and int(match["number"]) > 1


def part_paths(path: Path, count: int) -> tuple[Path, ...]:
    """The files of all parts, made from the name of the first. InvalidModelFile if it is not named so."""
    match = _NAME.fullmatch(path.name)
    if match is None or (int(match["number"]), int(match["count"])) != (1, count):
        raise bad(
            Reason.SPLIT_MISMATCH,
            f"The model is split into {count} files, but the name does not end in -00001-of-{count:05}.gguf.",
        )
    names = (f"{match['stem']}-{number:05}-of-{count:05}{match['suffix']}" for number in range(1, count + 1))
    return tuple(path.with_name(name) for name in names)


def read_parts(path: Path, read: Callable[[Path], GGUFHeader]) -> tuple[tuple[Path, ...], tuple[GGUFHeader, ...]]:
    """All files of the model that begins with `path`, and their headers; of a model in one file that one.

    InvalidModelFile for a later part, for missing parts (it names them), and for parts of something else.
    """
    first = read(path)
    count = first.integer("split.count") or 1
    number = first.integer("split.no") or 0
    if number:
        raise bad(Reason.SPLIT_PART, f"The file is part {number + 1} of {count} of a model: the first part is needed.")
    if count == 1:
        return (path,), (first,)
    if count > MAX_PARTS:
        raise bad(Reason.OVER_LIMIT, f"The model file claims to be one of {count}.")
    paths = part_paths(path, count)
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise bad(Reason.SPLIT_MISSING, f"{len(missing)} of the {count} files are missing: {shown}.", missing=missing)
    headers = (first, *(read(part) for part in paths[1:]))
    for position, header in enumerate(headers):
        if (header.integer("split.no"), header.integer("split.count")) != (position, count):
            raise bad(
                Reason.SPLIT_MISMATCH, f"{paths[position].name} is not part {position + 1} of {count} of this model."
            )
    return paths, headers
