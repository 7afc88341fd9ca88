"""The catalog asks providers which models they know; some do not answer, some have defects."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.catalog import Catalog
from lanhaven.errors import ModelNotFound, ProviderUnavailable
from lanhaven.types.models import ModelInfo
from tests.test_catalog import Shelf, keys

pytestmark = pytest.mark.anyio


async def test_a_provider_that_fails_keeps_its_last_answer_and_is_reported() -> None:
    shelf, other = Shelf("shelf", "m"), Shelf("other", "n")
    cat = Catalog([], {"shelf": shelf, "other": other})
    await cat.refresh()
    shelf.failure = ProviderUnavailable("It does not run.")
    other.known = []
    await cat.refresh()
    assert keys(cat) == ["m"]
    assert cat.problems == ("shelf: its models could not be listed: It does not run.",)
    shelf.failure = None
    await cat.refresh()
    assert cat.problems == ()


async def test_while_a_provider_has_never_told_what_it_has_its_error_answers_for_unknown_names() -> None:
    shelf, other = Shelf("shelf", "m"), Shelf("other", "n")
    shelf.failure = ProviderUnavailable("It does not run.")
    cat = Catalog([], {"shelf": shelf, "other": other})
    await cat.refresh()
    assert cat.resolve("n", {}).info.key == "n"
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="It does not run"):
            cat.resolve("m", {})
    shelf.failure = None
    await cat.ask()
    assert cat.resolve("m", {}).info.key == "m"
    shelf.failure = ProviderUnavailable("It does not run.")
    await cat.ask()
    with pytest.raises(ModelNotFound):
        cat.resolve("unknown", {})


async def test_asking_again_takes_over_what_is_new_and_rebuilds_nothing_else() -> None:
    shelf = Shelf("shelf", "m")
    cat = Catalog([], {"shelf": shelf})
    await cat.refresh()
    before = cat.models()[0]
    await cat.ask()
    assert cat.models()[0] is before
    shelf.known = [ModelInfo("new", "shelf")]
    await cat.ask()
    assert keys(cat) == ["new"]


async def test_a_provider_with_a_defect_is_reported_and_disturbs_nobody() -> None:
    shelf, other = Shelf("shelf", "m"), Shelf("other", "n")
    shelf.failure = RuntimeError("a defect")
    cat = Catalog([], {"shelf": shelf, "other": other})
    await cat.refresh()
    assert keys(cat) == ["n"]
    assert cat.problems == ("shelf: its models could not be listed: it failed in an unforeseen way",)
    with pytest.raises(ModelNotFound):
        cat.resolve("m", {})


async def test_a_provider_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanhaven.catalog.ASK_TIMEOUT", 0.01)
    slow, quick = Shelf("slow", "m"), Shelf("quick", "n")
    slow.gate = asyncio.Event()
    cat = Catalog([], {"slow": slow, "quick": quick})
    await cat.refresh()
    assert keys(cat) == ["n"]
    assert cat.problems == ("slow: its models could not be listed: no answer within 0.01 s",)


async def test_an_answer_shows_together_with_its_models() -> None:
    gate = asyncio.Event()

    class Slow(Shelf):
        async def models(self) -> list[ModelInfo]:
            await gate.wait()
            return [*await super().models()]

    shelf, slow = Shelf("shelf", "m"), Slow("slow", "n")
    shelf.failure = ProviderUnavailable("It does not run.")
    gate.set()
    cat = Catalog([], {"shelf": shelf, "slow": slow})
    await cat.refresh()
    shelf.failure = None
    gate.clear()
    asking = asyncio.create_task(cat.ask())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not cat.complete, "what it told is not in the list yet"
    with pytest.raises(ProviderUnavailable):
        cat.resolve("m", {})
    gate.set()
    await asking
    assert cat.complete
    assert cat.resolve("m", {}).info.key == "m"
