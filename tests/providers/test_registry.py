"""Which providers there are, and what becomes of one that cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.registry import create, provider_names
from lanhaven.types.models import LoadConfig, ModelInfo
from tests.providers.llamacpp.llama import Observer


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with entry points for providers; the folder is its code."""
    info = tmp_path / "plugged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lanhaven.providers]\n"
        "mine = plugged_provider:create\n"
        "broken = plugged_nothing:create\n"
        "wrong = plugged_provider:refuse\n"
        "mock = plugged_provider:create\n"
    )
    (tmp_path / "plugged_provider.py").write_text(
        "class Mine:\n"
        "    def __init__(self, context): self.name = context.name\n"
        "create = Mine\n"
        "def refuse(context): raise ValueError('no engine for this machine')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def context(name: str, folder: Path) -> ProviderContext:
    return ProviderContext(name, folder)


def test_the_built_in_ones_are_there() -> None:
    assert {"llama_cpp", "mock"} <= set(provider_names())


@pytest.mark.req("S4-12")
def test_another_package_can_bring_one(plug_in: Path) -> None:
    assert "mine" in provider_names()
    assert type(create("mine", context("mine", plug_in))).__name__ == "Mine"


def test_a_package_cannot_take_a_built_in_name(plug_in: Path) -> None:
    assert type(create("mock", context("mock", plug_in))).__name__ == "MockProvider"


def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"There is no provider .none.; there are: .*llama_cpp"):
        create("none", context("none", tmp_path))


@pytest.mark.req("C18")
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "reason"), [("broken", "No module named 'plugged_nothing'"), ("wrong", "no engine for this machine")]
)
async def test_one_that_cannot_be_made_says_why(plug_in: Path, name: str, reason: str) -> None:
    provider = create(name, context(name, plug_in))
    info = provider.describe(ModelEntry("m", name))
    assert reason in (info.unavailable or "")
    with pytest.raises(UnsupportedFeature, match=reason):
        await provider.load(ModelInfo("m", name), "m", LoadConfig(), Observer())
    health = await provider.health()
    assert (health.ok, reason in health.detail) == (False, True)
    assert (await provider.models(), await provider.instances(), provider.logs("m")) == ((), (), ())
    assert provider.estimate(info, LoadConfig()) == 0
    await provider.unload("m")
    await provider.aclose()


def test_wrong_settings_do_not_stop_the_others(tmp_path: Path) -> None:
    provider = create("llama_cpp", ProviderContext("llama_cpp", tmp_path, {"slotz": 1}))
    info = provider.describe(ModelEntry("m", "llama_cpp"))
    assert "config.slotz is no setting of llama_cpp" in (info.unavailable or "")
