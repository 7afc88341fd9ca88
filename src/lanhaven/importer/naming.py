"""What models are called, by where they lie: readable, and the same in every run."""

from __future__ import annotations

import re
from pathlib import PurePath

from lanhaven.importer.found import Named, Store

LONGEST = 160  # of the 200 that a name may have
_PART = re.compile(r"-00001-of-\d{5}$")
_NAMELESS = re.compile(r"(ggml-)?model([-._].*)?", re.IGNORECASE)
_GGUF_ENDING = re.compile(r"[-_.]gguf$", re.IGNORECASE)
_RESERVED = frozenset({"default", "auto"})


def for_gguf(store: Store, repository: str | None, inner: PurePath, quantization: str | None) -> Named:
    """Of a GGUF file. `inner`: its path from the root of its store, or of its repository."""
    stem = _PART.sub("", inner.stem)
    plain = short(stem, quantization)
    if repository is not None:
        return Named(clean(f"{repository}:{quantization}" if quantization else repository), _also(plain), stem)
    if store is Store.LMSTUDIO and len(inner.parts) == 3:
        model = _GGUF_ENDING.sub("", inner.parts[1]).lower()
        variant = f"{model}@{quantization.lower()}" if quantization else model
        return Named(clean(f"{inner.parts[0].lower()}/{variant}"), _also(variant, model), stem)
    parent = inner.parent.name
    name = f"{parent}-{stem}" if _NAMELESS.fullmatch(stem) and parent else stem
    return Named(clean(name.lower()), _also(short(name, quantization)), parent)


def for_mlx(store: Store, repository: str | None, inner: PurePath) -> Named:
    """Of an MLX folder."""
    name = repository or "/".join(inner.parts[-2:] if store is Store.LMSTUDIO else inner.parts[-1:])
    return Named(clean(name if repository else name.lower()), _also(name.rpartition("/")[2]), inner.parent.name)


def short(name: str, quantization: str | None) -> str:
    """Without the quantization at its end."""
    if quantization and name.lower().endswith(quantization.lower()):
        return name[: -len(quantization)].rstrip("-_. ") or name
    return name


def clean(name: str) -> str:
    """A name that models.yaml takes: printable, no blanks, no dash in front, none of the words with a meaning."""
    text = "".join(char if char.isprintable() and not char.isspace() else "-" for char in name)
    text = text.encode(errors="replace").decode().strip("-").lstrip("-")[:LONGEST].strip()
    return f"model-{text}" if not text or text.lower() in _RESERVED else text


def _also(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clean(name.lower()) for name in names))


class Names:
    """The names that are given away."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = {name.lower() for name in taken}

    def give(self, named: Named) -> str:
        """An id that nothing else has: the one wished for, else with what tells it apart, else with a number."""
        candidates = [named.id]
        if named.apart:
            candidates.append(
                clean(f"{named.apart}/{named.id}" if "/" not in named.id else f"{named.id}-{named.apart}")
            )
        number = 2
        while (name := candidates.pop(0)).lower() in self._taken:
            if not candidates:
                candidates.append(f"{named.id}-{number}")
                number += 1
        self._taken.add(name.lower())
        return name

    def free(self, alias: str) -> bool:
        """Whether nothing is called so; then it is taken."""
        if alias.lower() in self._taken:
            return False
        self._taken.add(alias.lower())
        return True
