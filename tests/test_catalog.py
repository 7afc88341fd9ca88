from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from lanhaven.catalog import Active, Catalog, Target, near
from lanhaven.errors import InvalidModelFile, ModelNotFound, NoActiveModel, ProviderUnavailable
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, Running
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind, Sampling

pytestmark = pytest.mark.anyio

NOTHING: Mapping[str, str] = MappingProxyType({})


class Shelf:
    """A provider with models and no engine. `broken` maps entry ids to what describing them raises."""

    load_fields = frozenset[str]()
    sampling_fields = frozenset[str]()

    def __init__(self, name: str, *keys: str, broken: Mapping[str, Exception] | None = None) -> None:
        self.name = name
        self.known = [ModelInfo(key, name) for key in keys]
        self.broken = dict(broken or {})
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.described: list[str] = []
        self.threads: set[int] = set()

    def describe(self, entry: ModelEntry) -> ModelInfo:
        self.described.append(entry.id)
        self.threads.add(threading.get_ident())
        if entry.id in self.broken:
            raise self.broken[entry.id]
        return ModelInfo(
            "whatever",
            "other",
            kind=ModelKind.VLM,
            max_context=4096,
            load=LoadConfig(slots=4),
            aliases=("of-provider",),
        )

    async def models(self) -> Sequence[ModelInfo]:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.known

    async def instances(self) -> Sequence[Running] | None:
        return None

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        raise ProviderUnavailable("a shelf loads nothing")

    async def unload(self, instance_id: str) -> None:
        return None

    async def health(self) -> Health:
        return Health(ok=True, kind="shelf")

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        return None


def entries(*ids: str, provider: str = "shelf", enabled: bool = True) -> list[ModelEntry]:
    return [ModelEntry(each, provider, enabled=enabled, aliases=(f"{each}-alias",)) for each in ids]


def catalog(*ids: str, default_model: str | None = None) -> Catalog:
    return Catalog(entries(*ids), {"shelf": Shelf("shelf")}, default_model=default_model)


def keys(catalog: Catalog) -> list[str]:
    return [info.key for info in catalog.models()]


def resolved(catalog: Catalog, name: str | None, instances: Mapping[str, str] = NOTHING) -> tuple[str, str | None]:
    target = catalog.resolve(name, instances)
    return target.info.key, target.instance_id


async def test_an_entry_lies_over_what_its_provider_says() -> None:
    entry = ModelEntry(
        "mine",
        "shelf",
        description="words",
        pinned=True,
        preload=True,
        load=LoadConfig(context_length=8),
        sampling=Sampling(seed=1),
        config={"a": 1},
    )
    info = Catalog([entry], {"shelf": Shelf("shelf")}).get("mine")
    assert info == ModelInfo(
        key="mine",
        provider="shelf",
        kind=ModelKind.VLM,
        max_context=4096,
        aliases=("of-provider",),
        description="words",
        load=LoadConfig(context_length=8, slots=4),
        sampling=Sampling(seed=1),
        pinned=True,
        preload=True,
        config={"a": 1},
    )


async def test_a_model_that_cannot_be_described_stays_listed_with_the_reason() -> None:
    broken = {
        "bad": InvalidModelFile("The header is cut off."),
        "gone": FileNotFoundError(2, "No such file or directory"),
    }
    shelf = Shelf("shelf", broken=broken)
    models = Catalog([*entries("bad", "gone", "good"), *entries("odd", provider="shelve")], {"shelf": shelf}).models()
    reasons = {info.key: info.unavailable for info in models}
    assert reasons["bad"] == "The header is cut off."
    assert reasons["gone"] == "Its file cannot be read: No such file or directory."
    assert reasons["good"] is None
    assert reasons["odd"] == "There is no provider 'shelve' here; there are: shelf."


@pytest.mark.req("C24")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("a", ("a", None)),
        ("a-alias", ("a", None)),
        ("a:latest", ("a", None)),
        ("a-alias:latest", ("a", None)),
        ("primary", ("b", "primary")),
        ("primary:latest", ("b", "primary")),
        ("c", ("c", "c")),
        ("c:2", ("c", "c:2")),
        ("A", ("a", None)),
        ("A-ALIAS:LATEST", ("a", None)),
        ("PRIMARY", ("b", "primary")),
        ("C", ("c", "c")),
        ("tagged", ("tagged:latest", None)),
        ("tagged:latest", ("tagged:latest", None)),
        ("TAGGED", ("tagged:latest", None)),
    ],
)
async def test_names(name: str, meant: tuple[str, str | None]) -> None:
    loaded = {"primary": "b", "c": "c", "c:2": "c", "stray": "a-model-that-is-gone"}
    assert resolved(catalog("a", "b", "c", "tagged:latest"), name, loaded) == meant


@pytest.mark.req("C24")
async def test_an_exact_name_wins_over_one_in_another_case_and_two_such_mean_none() -> None:
    cat = catalog("Model", "model", "Solo")
    assert resolved(cat, "Model") == ("Model", None)
    assert resolved(cat, "model") == ("model", None)
    with pytest.raises(ModelNotFound):
        cat.resolve("MODEL", NOTHING)
    assert resolved(cat, "solo") == ("Solo", None)
    with pytest.raises(ModelNotFound):
        cat.resolve("ONE", {"One": "Solo", "one": "Model"})


@pytest.mark.req("C24", "S0-30", "S1-26", "F-130")
@pytest.mark.parametrize(
    "name", ["llama", "smolm2", "stray", "a-model-that-is-gone", ":latest", "../etc/passwd", "x" * 10_000, "\ud800"]
)
async def test_an_unknown_name_is_never_another_model(name: str) -> None:
    cat = catalog("smollm2", "qwen", default_model="qwen")
    cat.activate("smollm2")
    with pytest.raises(ModelNotFound) as caught:
        cat.resolve(name, {"stray": "a-model-that-is-gone"})
    error = caught.value
    shown = {"\ud800": "?", "x" * 10_000: "x" * 200 + "…"}.get(name, name)
    assert error.message == f"Model not found: {shown}"
    assert (error.retry, error.param, bool(error.hint)) == (False, "model", True)


async def test_a_near_name_is_suggested() -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog("smollm2-135m", "qwen").resolve("smolm2-135m", NOTHING)
    assert caught.value.hint == "did you mean smollm2-135m?"
    assert near("smollm", ["smollm2", "SMOLLM3", "other"]) == ["smollm2"]


@pytest.mark.req("C24", "S0-43", "S0-39")
@pytest.mark.parametrize("name", [None, "", "default", "auto"])
async def test_no_name_means_the_active_model_then_the_default_then_an_error(name: str | None) -> None:
    cat = catalog("a", "b", default_model="b-alias")
    assert cat.default_model == "b"
    assert resolved(cat, name) == ("b", None)
    cat.activate("a", "primary")
    assert cat.active == Active("a", "primary")
    assert resolved(cat, name, {"primary": "a"}) == ("a", "primary")
    assert resolved(cat, name, NOTHING) == ("a", None)  # unloaded meanwhile: the model is still the active one
    assert not cat.deactivate_if("other")
    assert cat.deactivate_if("primary")
    assert resolved(cat, name) == ("b", None)
    await cat.replace(entries("a", "b"))
    with pytest.raises(NoActiveModel) as caught:
        cat.resolve(name, NOTHING)
    assert (caught.value.hint, caught.value.retry) == ("lanhaven load a", False)


async def test_a_default_model_that_is_no_model_is_reported_and_not_used() -> None:
    cat = catalog("a", default_model="b")
    assert cat.default_model is None
    assert cat.problems == ("default_model 'b' is no model here",)
    with pytest.raises(NoActiveModel):
        cat.resolve(None, NOTHING)


async def test_an_empty_catalog_resolves_nothing() -> None:
    cat = Catalog([], {})
    with pytest.raises(NoActiveModel, match="none is active"):
        cat.resolve(None, NOTHING)
    with pytest.raises(ModelNotFound):
        cat.resolve("a", NOTHING)
    assert (keys(cat), cat.problems, cat.get("a")) == ([], (), None)


async def test_clashing_names_go_to_the_earlier_and_are_reported() -> None:
    listed = [ModelEntry("a", "shelf", aliases=("x", "b", "a")), ModelEntry("b", "shelf", aliases=("x", "y"))]
    cat = Catalog(listed, {"shelf": Shelf("shelf")})
    assert [resolved(cat, name)[0] for name in ("x", "y", "b", "a")] == ["a", "b", "b", "a"]
    assert len(cat.problems) == 2
    assert "'b' of 'a' is a name of 'b' already" in cat.problems[0]
    assert "'x' of 'b' is a name of 'a' already" in cat.problems[1]


@pytest.mark.req("F-023")
async def test_refresh_adds_what_providers_know_and_the_file_comes_first() -> None:
    one, two = Shelf("one", "m", "n", "off"), Shelf("two", "n", "o")
    listed = [ModelEntry("m", "one", description="mine"), ModelEntry("off", "one", enabled=False)]
    cat = Catalog(listed, {"one": one, "two": two})
    assert keys(cat) == ["m"]
    await cat.refresh()
    assert keys(cat) == ["m", "n", "o"]
    found = cat.get("m")
    assert found is not None
    assert found.description == "mine"
    assert cat.problems == ("'n' of two is hidden by the one of one",)
    one.known, two.known = [], []
    await cat.refresh()
    assert (keys(cat), cat.problems) == (["m"], ())


async def test_a_disabled_model_is_as_absent() -> None:
    cat = Catalog([*entries("a"), *entries("off", enabled=False)], {"shelf": Shelf("shelf", "off")})
    await cat.refresh()
    for name in ("off", "off-alias", "OFF", "off:latest"):
        with pytest.raises(ModelNotFound):
            cat.resolve(name, {"off": "off"})
    assert cat.get("off") is None


async def test_refresh_describes_off_the_loop_and_sees_files_that_came() -> None:
    shelf = Shelf("shelf", broken={"a": FileNotFoundError(2, "No such file")})
    cat = Catalog(entries("a"), {"shelf": shelf})
    shelf.broken.clear()
    shelf.threads.clear()
    await cat.refresh()
    info = cat.get("a")
    assert info is not None
    assert info.unavailable is None
    assert threading.get_ident() not in shelf.threads


async def test_replacing_during_a_refresh_is_not_undone_by_it() -> None:
    shelf = Shelf("shelf", "known")
    shelf.gate = asyncio.Event()
    cat = Catalog(entries("a", "b"), {"shelf": shelf})
    refreshing = asyncio.create_task(cat.refresh())
    await asyncio.sleep(0)
    await cat.replace([ModelEntry("b", "shelf", description="new")])
    shelf.gate.set()
    await refreshing
    assert keys(cat) == ["b", "known"]
    info = cat.get("b")
    assert info is not None
    assert info.description == "new"


@pytest.mark.req("F-172")
async def test_replacing_describes_only_what_changed_or_could_not_run() -> None:
    shelf = Shelf("shelf", broken={"bad": FileNotFoundError(2, "No such file")})
    cat = Catalog(entries("same", "other", "bad"), {"shelf": shelf}, default_model="same")
    shelf.described.clear()
    await cat.replace([*entries("same"), ModelEntry("other", "shelf", pinned=True), *entries("bad", "new")])
    assert shelf.described == ["other", "bad", "new"]
    assert keys(cat) == ["same", "other", "bad", "new"]
    assert cat.default_model is None


async def test_the_active_model_ends_when_it_leaves_the_catalog() -> None:
    cat = catalog("a", "b")
    cat.activate("a", "a")
    await cat.replace(entries("b"))
    assert cat.active is None
    with pytest.raises(NoActiveModel):
        cat.resolve(None, {"a": "a"})


@pytest.mark.req("F-073")
async def test_a_name_is_looked_up_without_walking_the_models_or_asking_anybody() -> None:
    shelf = Shelf("shelf")
    cat = Catalog(entries(*(f"model-{number}" for number in range(1000))), {"shelf": shelf})
    shelf.described.clear()

    class Counted(dict[str, ModelInfo]):
        walked = 0

        def __iter__(self) -> object:  # type: ignore[override]
            Counted.walked += 1
            return super().__iter__()

    index = cat._index
    object.__setattr__(index, "models", Counted(index.models))
    for name in ("model-999", "model-500-alias", "MODEL-7", "model-3:latest"):
        assert isinstance(cat.resolve(name, NOTHING), Target)
    assert Counted.walked == 0
    assert shelf.described == []


async def test_it_prints_its_state(tmp_path: Path) -> None:
    cat = catalog("a", default_model="x")
    cat.activate("a")
    assert repr(cat) == "Catalog(models=1 active=Active(model_key='a', instance_id=None) problems=1)"
