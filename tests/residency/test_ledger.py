"""What loads take: arithmetic first, then what the last real load taught."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lanhaven.errors import InsufficientMemory
from lanhaven.providers.base import Running
from lanhaven.residency import PoolSettings
from lanhaven.residency.forecast import Verdict
from lanhaven.residency.ledger import Ledger, longest
from lanhaven.types.models import LoadConfig, ModelInfo
from tests.residency.fakes import GIB, ScriptedProvider, World, model

pytestmark = pytest.mark.anyio
A = model("a", 3)
PLAIN = LoadConfig()


def ledger(**said: int) -> Ledger:
    return Ledger({"scripted": ScriptedProvider(**said)}, remembered=3)  # type: ignore[arg-type]


def learn(book: Ledger, info: ModelInfo, size_bytes: int, seconds: float, *, alone: bool = True) -> None:
    book.learn(info, PLAIN, book.need(info, PLAIN), size_bytes, seconds, alone=alone)


@pytest.mark.req("F-017")
def test_a_load_teaches_what_the_next_one_needs() -> None:
    book = ledger(margin=GIB, later=GIB // 4)
    assert (book.need(A, PLAIN).bytes, book.need(A, PLAIN).learnt) == (4 * GIB + GIB // 4, False)
    learn(book, A, 3 * GIB, 7.0)
    need = book.need(A, PLAIN)
    assert (need.bytes, need.learnt) == (3 * GIB + GIB // 4, True), "and what is taken by use comes on top"
    assert need.parts is not None
    assert need.parts.total == 4 * GIB + GIB // 4
    assert book.need(A, LoadConfig(idle_ttl=5.0, cpu_threads=3)).learnt, "these take no memory"
    for other in (
        LoadConfig(context_length=9),
        LoadConfig(slots=2),
        LoadConfig(kv_type="q8_0"),
        LoadConfig(gpu_layers=1),
    ):
        assert not book.need(A, other).learnt


def test_another_file_or_another_sum_forgets_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"weights")
    info, provider = replace(A, path=path), ScriptedProvider(margin=GIB)
    book = Ledger({"scripted": provider})
    learn(book, info, 3 * GIB, 7.0)
    assert book.need(info, PLAIN).learnt
    provider.margin = 2 * GIB  # a setting has changed
    assert not book.need(info, PLAIN).learnt
    provider.margin = GIB
    os.utime(path, (1, 1))
    assert not book.need(info, PLAIN).learnt
    path.unlink()
    assert not book.need(info, PLAIN).learnt


def test_what_teaches_nothing() -> None:
    """A second copy shares the weights' pages; one found running was loaded by somebody else; remote ones take none."""
    book = ledger()
    learn(book, A, 2 * GIB, 7.0, alone=False)
    assert not book.need(A, PLAIN).learnt
    assert book.need(A, PLAIN).seconds == 7.0, "but how long it took"
    learn(book, A, 2 * GIB, 0.0)
    learn(book, model("remote", 0), 2 * GIB, 3.0)
    assert not book.need(A, PLAIN).learnt
    assert book.need(model("remote", 0), PLAIN).bytes == 0
    learn(book, A, 2 * GIB, 7.0)
    learn(book, A, 1 * GIB, 9.0, alone=False)
    assert book.need(A, PLAIN).bytes == 2 * GIB
    assert book.need(A, PLAIN).seconds == 9.0


def test_one_that_grows_teaches_too() -> None:
    book = ledger()
    book.saw(A, PLAIN, 9 * GIB)  # nothing is known about its load
    assert not book.need(A, PLAIN).learnt
    learn(book, A, 3 * GIB, 7.0)
    for seen in (2, 5, 4):
        book.saw(A, PLAIN, seen * GIB)
    assert book.need(A, PLAIN).bytes == 5 * GIB


def test_seconds_of_a_load_are_guessed_by_size_first() -> None:
    book = ledger()
    assert book.need(model("small", 1), PLAIN).seconds < book.need(model("large", 40), PLAIN).seconds


def test_it_is_bounded_and_outlives_a_restart() -> None:
    book, again = ledger(), ledger()
    for number in range(5):
        learn(book, model(f"m{number}", 3), number * GIB + 1, 1.0 + number)
    kept = [number for number in range(5) if book.need(model(f"m{number}", 3), PLAIN).learnt]
    assert kept == [2, 3, 4]
    again.restore(book.lessons())
    assert again.lessons() == book.lessons()
    assert again.need(model("m4", 3), PLAIN).bytes == 4 * GIB + 1
    assert again.need(model("m4", 3), PLAIN).seconds == 5.0
    assert repr(again) == "Ledger(3 lessons)"


@pytest.mark.parametrize("broken", [b"", b"{", b"[1]", b'[{"model": "a"}]', b"\xff"])
def test_what_is_no_ledger_changes_nothing(broken: bytes) -> None:
    book = ledger()
    with pytest.raises(ValueError):
        book.restore(broken)
    assert repr(book) == "Ledger(0 lessons)"


@pytest.mark.parametrize(("room", "found"), [(0, None), (255, None), (256, 256), (900, 768), (5000, 1000)])
def test_the_longest_context_is_a_step_or_the_models_own(room: int, found: int | None) -> None:
    assert longest(lambda tokens: tokens <= room, 1000) == found


def test_the_largest_context_is_set_right_by_what_was_learnt() -> None:
    book = ledger(margin=GIB, token_bytes=GIB // 1024)
    info, asked = replace(A, max_context=8192), LoadConfig(context_length=1024)
    assert book.largest_context(info, asked, 6 * GIB) == 2048
    known = book.learn(info, asked, book.need(info, asked), 4 * GIB, 1.0, alone=True)
    assert known == book.need(info, asked)
    assert book.largest_context(info, asked, 6 * GIB) == 3072
    assert book.largest_context(info, asked, 3 * GIB) is None
    assert book.largest_context(A, asked, 6 * GIB) is None, "nobody knows how much the model takes"


# In a pool.


def house(memory: int, **said: int) -> World:
    provider = ScriptedProvider(memory=memory * GIB, **said)  # type: ignore[arg-type]
    return World(asyncio.get_running_loop().time, provider, PoolSettings(max_automatic=9))


@pytest.mark.req("F-017")
async def test_the_next_load_is_admitted_by_what_the_last_one_took(anyio_backend: object) -> None:
    world = house(7, margin=2 * GIB)
    with pytest.raises(InsufficientMemory):
        await world.use(model("six", 6))
    await world.pool.load(model("six", 6), force=True)
    await world.pool.unload("six")
    assert await world.use(model("six", 6)) == "six"


async def test_sweeps_see_what_an_instance_has_grown_to(anyio_backend: object) -> None:
    world = house(9)
    await world.pool.load(A)
    world.provider.lists, world.provider.running = True, [Running("a", "a", 5 * GIB)]
    await world.pool.sweep()
    assert world.pool.ledger.need(A, PLAIN).bytes == 5 * GIB


@pytest.mark.req("F-017")
async def test_a_refusal_names_the_context_that_would_fit(anyio_backend: object) -> None:
    world = house(4, token_bytes=GIB // 1024)
    long = ModelInfo("a", "scripted", size_bytes=3 * GIB, max_context=8192, load=LoadConfig(context_length=4096))
    with pytest.raises(InsufficientMemory) as refused:
        await world.use(long)
    assert refused.value.facts["largest_context"] == 1024
    assert "lanhaven load a --context 1024" in str(refused.value.hint)
    assert await world.use(replace(long, load=LoadConfig(context_length=1024))) == "a"


async def test_a_forecast_tells_what_would_become_of_an_order(anyio_backend: object) -> None:
    world = house(10, token_bytes=GIB // 1024)
    long = ModelInfo("a", "scripted", size_bytes=3 * GIB, max_context=65536)
    first = world.pool.forecast(long, LoadConfig(context_length=2048))
    assert (first.need.bytes, first.available_bytes, first.evictable_bytes) == (5 * GIB, 10 * GIB, 0)
    assert (first.verdict, first.fits, first.largest_context) == (Verdict.FITS, True, 7168)
    await world.use(model("idle", 6))
    await world.pool.load(model("mine", 1))
    crowded = world.pool.forecast(long, LoadConfig(context_length=2048))
    assert (crowded.available_bytes, crowded.evictable_bytes) == (3 * GIB, 6 * GIB)
    assert (crowded.verdict, crowded.fits, crowded.largest_context) == (Verdict.AFTER_EVICTION, True, 6144)
    too_long = world.pool.forecast(long, LoadConfig(context_length=8192))
    assert (too_long.verdict, too_long.fits, too_long.largest_context) == (Verdict.NO, False, 6144)
    assert set(world.pool.ids()) == {"idle", "mine"}, "nothing was done"
    away = world.pool.forecast(replace(long, unavailable="no engine"), PLAIN)
    assert (away.verdict, away.need.bytes) == (Verdict.NO, 0)
