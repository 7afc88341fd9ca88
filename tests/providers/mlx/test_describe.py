"""What the mlx provider says of models without loading them, and where there is no mlx. Nothing is started here."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lanhaven.engines.serving.log import stage_of
from lanhaven.errors import InvalidRequest, LoadFailed, ProviderUnavailable, UnsupportedFeature
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.mlx.provider import MLX, Installed, find_installed
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind, Sampling
from tests.providers.llamacpp.llama import Observer

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "vocab_size": 100,
    "torch_dtype": "bfloat16",
}
PLAIN = LoadConfig()
HERMES = "{% if tools %}...{% endif %}<tool_call>{{ tool_call.name }}"


def write(folder: Path, config: Mapping[str, Any] = CONFIG, template: str | None = "{{ messages }}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template} if template else {}))
    weights(folder / "model.safetensors")
    return folder


def weights(path: Path, count: int = 1000, cut: int = 0, dtype: str = "BF16") -> None:
    header = json.dumps({"w": {"dtype": dtype, "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * count - cut))


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)


Make = Callable[..., MLX]


@pytest.fixture
def make(run_dir: Path) -> Make:
    """Providers that believe that mlx-lm is there; `eyes`: mlx-vlm as well."""

    def new(missing: str | None = None, *, eyes: bool = False, **options: Any) -> MLX:
        found = Installed(None, missing) if missing else Installed("0.32.2", eyes="0.7.10" if eyes else None)
        return MLX(ProviderContext("mlx", run_dir, options), find=lambda python: found)

    return new


def described(provider: MLX, path: Path, **config: Any) -> ModelInfo:
    return provider.describe(ModelEntry("m", "mlx", config={"model_path": str(path), **config}))


@pytest.mark.req("S4-11", "S4-x6")
def test_a_folder_is_described_by_its_headers(make: Make, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    info = described(make(), folder, n_ctx=512, slots=2, sampling={"temperature": 0.3, "top_k": 5})
    assert (info.kind, info.format, info.architecture, info.layers) == (ModelKind.LLM, "mlx", "llama", 2)
    assert (info.max_context, info.quantization, info.unavailable) == (1024, "BF16", None)
    assert info.capabilities == {"completion", "chat"}
    assert info.size_bytes == (folder / "model.safetensors").stat().st_size
    assert info.load == LoadConfig(context_length=512, slots=2)
    assert info.sampling == Sampling(temperature=0.3, top_k=5)


@pytest.mark.parametrize(
    ("config", "template", "quantization", "capabilities"),
    [
        ({"quantization": {"bits": 4, "group_size": 64}}, HERMES, "4bit", {"completion", "chat", "tools"}),
        ({}, "{% if tools %}in no form that is known{% endif %}", "BF16", {"completion", "chat"}),
        ({}, None, "BF16", {"completion"}),
        ({"text_config": {**CONFIG, "torch_dtype": "float16"}, "vision_config": {}}, HERMES, "F16",
         {"completion", "chat", "tools"}),
    ],
)  # fmt: skip
def test_what_a_model_can(
    make: Make, tmp_path: Path, config: dict[str, Any], template: str | None, quantization: str, capabilities: set[str]
) -> None:
    info = described(make(), write(tmp_path / "m", CONFIG | config, template))
    assert (info.quantization, info.capabilities, info.max_context) == (quantization, capabilities, 1024)


@pytest.mark.req("S4-11", "S4-x4")
def test_a_model_sees_where_it_has_eyes_and_mlx_vlm_is_there(make: Make, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", CONFIG | {"vision_config": {}})
    there, missing = make(eyes=True), make()
    assert (described(there, folder).kind, described(missing, folder).kind) == (ModelKind.VLM, ModelKind.LLM)
    assert "vision" in described(there, folder).capabilities
    assert "vision" not in described(there, folder, vision=False).capabilities | described(missing, folder).capabilities
    assert "mlx-vision" in (described(missing, folder, vision=True).unavailable or "")
    assert "for texts" in (described(there, folder, draft_model_path=str(folder)).unavailable or "")
    assert described(missing, folder, draft_model_path=str(folder)).unavailable is None
    weights(folder / "model.safetensors", dtype="F8_E8M0")
    assert "would write into" in (described(there, folder).unavailable or "")
    assert described(there, folder, vision=False).unavailable is None


def test_a_template_may_lie_in_a_file_of_its_own(make: Make, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", template=None)
    (folder / "chat_template.jinja").write_text(HERMES)
    assert "tools" in described(make(), folder).capabilities


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"vision": True}, r"the model sees nothing"),
        ({"kv_bits": 7}, "one of 2, 3, 4, 5, 6, 8"),
        ({"kv_group_size": 10}, "one of 32, 64, 128"),
        ({"kv_bits": 8, "kv_group_size": 64}, "heads have 32 numbers.*Take one of 32"),
        ({"cache_type": "round"}, "one of standard, rotating, quantized"),
        ({"cache_type": "rotating"}, "needs max_kv_size"),
        ({"max_kv_size": 64, "kv_bits": 8}, "belongs to cache_type rotating"),
        ({"cache_type": "rotating", "max_kv_size": 64, "kv_bits": 8}, "belongs to cache_type quantized"),
        ({"sampling": {"heat": 1}}, "config.sampling.heat is none of temperature"),
        ({"sampling": {"top_k": 0.5}}, "config.sampling.top_k must be a number"),
        ({"model_pth": "x"}, r"no setting of mlx: did you mean model_path\?"),
        ({"trust_remote_code": True}, "never run"),
        ({"chat_template": "a", "chat_template_path": "b"}, "both"),
        ({"draft_model_path": "/nowhere"}, "no such model folder"),
    ],
)
@pytest.mark.req("S4-x6")
def test_what_is_wrong_with_an_entry_is_said(make: Make, tmp_path: Path, config: dict[str, Any], words: str) -> None:
    reason = described(make(), write(tmp_path / "m"), **config).unavailable
    assert reason is not None
    assert re.search(words, reason), reason


def _cut(folder: Path) -> None:
    weights(folder / "model.safetensors", cut=10)


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "m.gguf").touch()


def _part_missing(folder: Path) -> None:
    names = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def _outside(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')


def _no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _no_type(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def _encoder(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


@pytest.mark.anyio
@pytest.mark.req("F-017")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_cut, "cut off"),
        (_no_weights, r"no model\*.safetensors.*llama_cpp"),
        (_part_missing, "missing: model-00002-of-00002.safetensors"),
        (_outside, "something else than files beside it"),
        (_no_json, "config.json is no JSON"),
        (_no_type, "model_type"),
        (_encoder, "runs no encoders.*llama_cpp"),
        (_no_config, "no config.json"),
    ],
)
async def test_an_unfit_folder_is_listed_with_the_reason_and_fails_before_anything_is_started(
    make: Make, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    folder = write(tmp_path / "m")
    spoil(folder)
    provider = make()
    reason = described(provider, folder).unavailable or ""
    assert re.search(words, reason), reason
    assert str(tmp_path) not in reason
    info = ModelInfo("m", "mlx", config={"model_path": str(folder)})
    with pytest.raises(LoadFailed, match=words):
        await provider.load(info, "m", LoadConfig(), Observer())
    assert provider.logs("m") == ()


@pytest.mark.anyio
@pytest.mark.req("C18")
async def test_without_mlx_models_are_listed_with_the_remedy_and_cannot_be_loaded(make: Make, tmp_path: Path) -> None:
    missing = find_installed(None).missing or "The engine mlx-lm is not installed: pip install 'lanhaven[mlx]'"
    provider = make(missing)
    info = described(provider, write(tmp_path / "m"))
    assert (info.unavailable, info.layers) == (missing, 2)
    health = await provider.health()
    assert (health.ok, health.detail) == (False, missing)
    with pytest.raises(UnsupportedFeature, match="m needs the engine mlx-lm"):
        await provider.load(info, "m", LoadConfig(), Observer())


@pytest.mark.parametrize(
    ("python", "words"),
    [
        (sys.executable, "not installed for providers.mlx.python"),
        ("/nowhere/python", "cannot be used: No such file"),
        ("/bin/false", "cannot be used: it is no Python"),
    ],
)
def test_another_interpreter_is_asked_what_it_has(run_dir: Path, python: str, words: str) -> None:
    if find_installed(None).version is not None and python == sys.executable:
        pytest.skip("this interpreter has mlx-lm")
    provider = MLX(ProviderContext("mlx", run_dir, {"python": python}))
    assert words in (described(provider, run_dir).unavailable or "")


def test_the_estimate_counts_what_is_kept(make: Make, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    provider = make(prompt_cache_mib=0, context_length=1024, default_slots=1)
    per_token = 2 * 2 * 32 * 2 * 2  # keys and values, heads, numbers a head, layers, bytes

    def needed(config: LoadConfig = PLAIN, **settings: Any) -> int:
        info = ModelInfo("m", "mlx", config={"model_path": str(folder), **settings})
        return provider.estimate(info, config)

    plain = needed()
    assert needed(LoadConfig(slots=3)) - plain == 2 * 1024 * per_token
    assert plain - needed(LoadConfig(context_length=512)) == 512 * per_token
    assert plain - needed(cache_type="rotating", max_kv_size=24) == 1000 * per_token
    assert needed(kv_bits=8) < plain < needed(cache_ram_mib=1)
    assert needed(LoadConfig(kv_type="q8_0", slots=9)) == needed(kv_bits=8)  # one request after the other
    assert needed(model_path="/nowhere") == 0


def test_a_cache_that_mlx_could_not_quantize_is_refused(make: Make, tmp_path: Path) -> None:
    """It would break off the first answer that is long enough."""
    odd = write(tmp_path / "odd", CONFIG | {"head_dim": 80})
    assert "cannot be quantized" in (described(make(), odd, kv_bits=8).unavailable or "")
    latent = write(tmp_path / "latent", CONFIG | {"head_dim": 80, "kv_lora_rank": 512})
    assert described(make(), latent, kv_bits=8).unavailable is None


def test_wrong_settings_of_the_provider(make: Make, run_dir: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"config.pyton is no setting of mlx: did you mean python"):
        make(pyton="x")
    with pytest.raises(ProviderUnavailable, match="too long"):
        MLX(ProviderContext("mlx", run_dir / ("x" * 100)), unix_sockets=True)


def test_stages_are_read_from_the_log() -> None:
    assert stage_of("0.00.123.456 I srv    loading model") == ("loading model", None)
    assert stage_of("0.00.123.456 I srv    loading weights 0.42") == ("loading weights", 0.42)
    assert stage_of("0.00.123.456 I srv    listening") is None
