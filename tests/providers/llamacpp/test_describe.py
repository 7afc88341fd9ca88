"""What the provider says of models without loading them, and what cannot be loaded at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lanhaven.errors import InvalidRequest, LoadFailed, ProviderUnavailable, UnsupportedFeature
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.llamacpp.provider import LlamaCpp
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind
from tests.children import own_children
from tests.providers import tiny
from tests.providers.llamacpp.llama import OPTIONS, SMALL, Observer, model

Make = Callable[..., LlamaCpp]


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)


@pytest.fixture
def make(run_dir: Path) -> Make:
    """Makes providers; those that start something are to be closed."""
    return lambda options=None, **more: LlamaCpp(ProviderContext("llama_cpp", run_dir, options or OPTIONS), **more)


# ---- describing, and what cannot be loaded


def described(provider: LlamaCpp, **config: Any) -> ModelInfo:
    return provider.describe(ModelEntry("tiny", "llama_cpp", config=config))


def test_a_model_is_described_by_its_header(make: Make, smollm2: Path) -> None:
    info = described(make(), model_path=str(smollm2), n_ctx=2048, n_gpu_layers=-1)
    assert (info.kind, info.format, info.layers, info.max_context) == (ModelKind.LLM, "gguf", 30, 8192)
    assert (info.quantization, info.architecture) == ("Q4_1", "llama")
    assert info.capabilities == {"chat", "completion"}
    assert info.load == LoadConfig(context_length=2048, gpu_ratio=1.0)
    assert info.unavailable is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "model_path is missing"),
        ({"model_path": "/nowhere/m.gguf"}, "does not exist|no such|missing"),
        ({"n_ctxx": 5}, r"config.n_ctxx is no setting of llama_cpp: did you mean n_ctx\?"),
        ({"chat_format": "chatml"}, "use chat_template"),
        ({"n_ctx": "many"}, "config.n_ctx must be a whole number from 0 on, not 'many'"),
        ({"n_ctx": True}, "must be a whole number"),
        ({"slots": 0}, "from 1 on"),
        ({"kv_type": "q9"}, "one of f32, f16"),
        ({"check_tensors": "yes"}, "true or false"),
        ({"vision": True}, "needs mmproj_path"),
        ({"chat_template": "a", "chat_template_path": "b"}, "both"),
        ({"chat_template_path": "/nowhere/t.jinja"}, "chat template cannot be read: No such file"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(make: Make, smollm2: Path, config: dict[str, Any], words: str) -> None:
    path = {} if config == {} else {"model_path": str(smollm2)}
    reason = described(make(), **{**path, **config}).unavailable
    assert reason is not None
    assert re.search(words, reason), reason
    assert "/nowhere" not in reason


@pytest.mark.anyio
async def test_an_unfit_file_fails_before_anything_is_started(make: Make, smollm2: Path, tmp_path: Path) -> None:
    provider = make()
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    info = model(provider, path)
    with pytest.raises(LoadFailed, match="tiny could not be loaded: ") as caught:
        await provider.load(info, "tiny", SMALL, Observer())
    assert "reason" in caught.value.facts
    assert str(tmp_path) not in caught.value.message
    assert provider.estimate(info, SMALL) == 0


def test_a_projector_that_does_not_fit_is_refused(make: Make, smollm2: Path, tmp_path: Path) -> None:
    eyes = tiny.projector(tmp_path / "mmproj.gguf", model_width=64)
    info = described(make(), model_path=str(smollm2), mmproj_path=str(eyes))
    assert info.unavailable == "The projector does not fit: it gives 64 values, the model takes 576."
    assert "is a projector and no model" in (described(make(), model_path=str(eyes)).unavailable or "")


def test_estimates_grow_with_what_is_asked_for(make: Make, smollm2: Path, tmp_path: Path) -> None:
    provider = make({**OPTIONS, "prompt_cache_mib": 0})
    info = model(provider, smollm2)
    small = provider.estimate(info, SMALL)
    assert provider.estimate(info, LoadConfig(context_length=512, slots=4)) - small == 3 * 11_796_480  # 11.25 MiB of KV
    cached = make({**OPTIONS, "prompt_cache_mib": 100})
    assert cached.estimate(info, SMALL) - small == 100 << 20


@pytest.mark.anyio
async def test_without_the_engine_models_are_listed_with_the_remedy(make: Make, smollm2: Path) -> None:
    provider = make(find=lambda python: {"xllamacpp": None, "llama-cpp-python": None})
    info = described(provider, model_path=str(smollm2))
    assert "pip install 'lanhaven[llamacpp]'" in (info.unavailable or "")
    with pytest.raises(UnsupportedFeature) as caught:
        await provider.load(model(provider, smollm2), "tiny", SMALL, Observer())
    assert caught.value.hint == "pip install 'lanhaven[llamacpp]'"
    health = await provider.health()
    assert not health.ok
    assert "pip install" in health.detail


@pytest.mark.anyio
async def test_health_tells_version_threads_and_devices(make: Make) -> None:
    provider = make({**OPTIONS})
    health = await provider.health()
    assert health.ok
    assert health.version is not None
    assert health.detail.startswith(f"xllamacpp {health.version}, ")
    assert health.detail.endswith(", no GPU")
    await provider.aclose()
    assert not own_children()


@pytest.mark.anyio
async def test_an_engine_that_cannot_start_is_unhealthy(
    make: Make, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(run_dir / "python"))
    provider = make()
    health = await provider.health()
    await provider.aclose()
    assert not health.ok
    assert "cannot be started" in health.detail


def test_wrong_settings_of_the_provider_are_named(run_dir: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"config.treads is no setting of llama_cpp: did you mean threads\?"):
        LlamaCpp(ProviderContext("llama_cpp", run_dir, {"treads": 2}))
    with pytest.raises(ProviderUnavailable, match="too long for a unix socket"):
        LlamaCpp(ProviderContext("llama_cpp", run_dir / ("x" * 90)))
