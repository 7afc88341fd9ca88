"""Comparing the books with what really runs, where a provider can tell (people use LM Studio's window)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lanhaven.providers.base import Provider, Running
from lanhaven.residency.books import Books
from lanhaven.residency.engine import ask_running
from lanhaven.residency.resident import Phase, Resident


@dataclass(frozen=True, slots=True)
class Drift:
    """What the books get wrong about one provider."""

    gone: tuple[Resident, ...] = ()
    unknown: tuple[Running, ...] = ()
    told: tuple[tuple[Resident, str | None], ...] = ()  # why instances take no requests now, or that they do
    sizes: tuple[tuple[Resident, int], ...] = ()  # bytes that instances hold now


@dataclass(frozen=True, slots=True)
class _Before:
    """The books when the question was asked: `settled` if nothing was being loaded or unloaded."""

    ready: tuple[Resident, ...]
    settled: bool
    changes: int


async def reconcile(providers: Mapping[str, Provider], books: Books, amend: Callable[[str, Drift], None]) -> None:
    """Ask every provider at once. `amend` gets its name, in the very turn in which books and answer were compared."""
    await asyncio.gather(*(_ask(name, provider, books, amend) for name, provider in providers.items()))


async def _ask(name: str, provider: Provider, books: Books, amend: Callable[[str, Drift], None]) -> None:
    before = _look(name, books)
    running = await ask_running(name, provider)
    if running is not None:
        amend(name, compare(before.ready, books, running, settled=before.settled and _look(name, books) == before))


def compare(ready: Sequence[Resident], books: Books, running: Sequence[Running], *, settled: bool) -> Drift:
    """Gone: ready before the question and still, yet not running, or at another address. Unknown: running, not booked,
    nothing in motion."""
    there = {each.instance_id: each for each in running}
    gone = tuple(each for each in ready if each.phase is Phase.READY and _left(each, there.get(each.instance_id)))
    unknown = tuple(each for each in running if books.get(each.instance_id) is None) if settled else ()
    sizes = tuple((each, there[each.instance_id].size_bytes) for each in ready if each.instance_id in there)
    told = tuple((each, there[each.instance_id].away) for each in ready if each.instance_id in there)
    return Drift(gone, unknown, told, sizes)


def _left(resident: Resident, running: Running | None) -> bool:
    if running is None:
        return True
    there = replace(running.load_config, idle_ttl=resident.load_config.idle_ttl)  # which is no matter of its server
    return resident.standing and (running.upstream, there) != (resident.upstream, resident.load_config)


def _look(name: str, books: Books) -> _Before:
    ours = [each for each in books if each.info.provider == name]
    moving = any(each.phase in (Phase.LOADING, Phase.DRAINING) for each in ours)
    return _Before(tuple(each for each in ours if each.phase is Phase.READY), not moving, books.changes)
