"""Looking through folders: which layout each has, and the models in it. Blocks on files; not for the event loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lanhaven.importer import ollama
from lanhaven.importer.folders import Place, models_in
from lanhaven.importer.found import Found, Progress, Root, Scan, Store
from lanhaven.importer.hf_cache import repository_of, snapshot_of
from lanhaven.importer.look import Limits, Listing, Look


def scan(
    roots: Sequence[Root], progress: Progress = lambda entries, models: None, limits: Limits | None = None
) -> Scan:
    """Every model in these folders. The layouts of stores are recognized wherever they are met.

    A file that is met twice is one model; its second name becomes an alias of the first. Nothing is raised: what cannot
    be read is among `left_out`.
    """
    look = Look(limits or Limits(), progress)
    found: dict[tuple[int, int], Found] = {}
    for root in roots:
        path = look.enter(root)
        for model in _models(look, path, root.store):
            first = found.get(model.identity)
            if first is not None:
                found[model.identity] = _also_called(first, model)
            elif look.found():
                found[model.identity] = model
            else:
                look.note(path, f"more than {look.limits.models} models: the rest was not taken")
                break
    return Scan(tuple(found.values()), tuple(look.left_out), look.entries)


def _also_called(first: Found, again: Found) -> Found:
    """One file, two names. What Ollama knows of it is kept."""
    names = (again.named.id, *again.named.aliases)
    aliases = tuple(dict.fromkeys(name for name in (*first.named.aliases, *names) if name != first.named.id))
    return replace(
        first,
        named=replace(first.named, aliases=aliases),
        projector=first.projector or again.projector,
        kind=first.kind if first.projector else again.kind,
        sees=first.sees or again.sees,
        said=first.said or again.said,
        context=first.context or again.context,
    )


def _models(look: Look, root: Path, store: Store) -> Iterator[Found]:
    waiting = [(root, Place(store, root), 0)]
    repository = _repository_around(root)
    if repository is not None:
        waiting = [(root, Place(Store.HF_CACHE, root, repository), 0)]
    while waiting:
        folder, place, depth = waiting.pop()
        listing = look.listing(folder)
        if listing is None:
            continue
        name = repository_of(folder) if place.repository is None or depth == 0 else None
        if name is not None and "snapshots" in listing.folders:
            snapshot = snapshot_of(look, folder, listing.folders)
            if snapshot is not None:
                waiting.append((snapshot, Place(Store.HF_CACHE, snapshot, name), depth + 2))
        elif ollama.is_store(listing):
            yield from ollama.models(look, listing)
        else:
            yield from models_in(look, listing, place)
            waiting += _below(look, listing, place, depth)


def _repository_around(root: Path) -> str | None:
    """Of a folder within a repository of the hub's cache."""
    return next((name for each in root.parents if (name := repository_of(each)) is not None), None)


def _below(look: Look, listing: Listing, place: Place, depth: int) -> Iterator[tuple[Path, Place, int]]:
    """The folders in this one, so that the first by name is looked at first. Hidden ones hold no models of anybody."""
    if depth >= look.limits.depth and listing.folders:
        look.note(listing.folder, f"more than {look.limits.depth} folders deep: what lies below was not looked at")
        return
    for name in reversed(listing.folders):
        if not name.startswith("."):
            yield listing.folder / name, place, depth + 1
