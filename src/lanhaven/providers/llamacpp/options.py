"""The `config:` of a llama_cpp model in models.yaml, and the provider's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.engines.llama_server import OURS
from lanhaven.errors import InvalidRequest
from lanhaven.formats.ggml import KV_BYTES
from lanhaven.providers.defaults import ENGINE_READERS, EngineDefaults
from lanhaven.providers.settings import Reader, flag, integer, one_of, path, read_all, shaped, text
from lanhaven.types.models import LoadConfig

AUTO, XLLAMACPP, LLAMA_CPP_PYTHON, BINARY = ENGINES = ("auto", "xllamacpp", "llama_cpp_python", "binary")

# Settings of other programs' files, and what stands for them here.
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "chat_format": "use chat_template or chat_template_path",
        "chat_format_template": "use chat_template_path",
        "chat_template_file": "use chat_template_path",
        "projector_path": "use mmproj_path",
        "rope_freq_base": "use ropeFrequencyBase under load",
        "rope_freq_scale": "use ropeFrequencyScale under load",
        "temperature": "sampling stands under defaults",
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """One model's settings. `load` holds those that are another spelling of the load config."""

    model_path: Path
    mmproj_path: Path | None = None
    chat_template: str | None = None
    chat_template_path: Path | None = None
    n_batch: int | None = None
    cache_ram_mib: int | None = None
    check_tensors: bool = False
    use_mmap: bool | None = None
    engine: str | None = None
    binary: str | None = None
    args: tuple[str, ...] = ()
    load: LoadConfig = LoadConfig()


@dataclass(frozen=True, slots=True)
class Defaults(EngineDefaults):
    """engine, binary, args: how llama.cpp is run (see forms). `python`: an interpreter that has the engine's package,
    None = this one."""

    threads: int | None = None
    engine: str = AUTO
    binary: str | None = None
    args: tuple[str, ...] = ()
    python: Path | None = None


def read_options(config: Mapping[str, Any]) -> Options:
    """InvalidRequest names the setting that is unknown or of the wrong type, and what may have been meant."""
    values = read_all(config, _READERS, "llama_cpp", ELSEWHERE)
    if "model_path" not in values:
        raise InvalidRequest("config.model_path is missing: the GGUF file of the model.", param="model_path")
    if "chat_template" in values and "chat_template_path" in values:
        raise InvalidRequest("config has both chat_template and chat_template_path.", param="chat_template")
    vision = values.pop("vision", False)
    if vision and "mmproj_path" not in values:
        raise InvalidRequest("config.vision needs mmproj_path, the projector's GGUF file.", param="mmproj_path")
    if values.get("args") and values.get("engine", BINARY) not in (AUTO, BINARY):
        raise InvalidRequest("config.args are a llama-server's: they need engine binary.", param="args")
    load = LoadConfig(
        context_length=values.pop("n_ctx", None) or None,  # 0 = the default
        slots=values.pop("slots", None),
        cpu_threads=values.pop("threads", None),
        kv_type=values.pop("kv_type", None),
        flash_attention=values.pop("flash_attention", None),
        **_gpu(values.pop("n_gpu_layers", None)),
    )
    return Options(**values, load=load)


def read_defaults(options: Mapping[str, Any]) -> Defaults:
    """The provider's block in config.yaml together with the general settings. InvalidRequest as above."""
    return Defaults(**read_all(options, _PROVIDER_READERS, "llama_cpp", ELSEWHERE))


def _gpu(layers: int | None) -> dict[str, Any]:
    """-1 is how llama-cpp-python says all of them."""
    if layers is None:
        return {}
    return {"gpu_layers": layers} if layers >= 0 else {"gpu_ratio": 1.0}


@shaped(type="array", items={"type": ["string", "number"]})
def _arguments(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(type(each) in (str, int, float) for each in value):
        raise InvalidRequest(f"config.{key} must be a list of arguments.", param=key)
    words = tuple(str(each) for each in value)
    if ours := next((each for each in words if each.partition("=")[0] in OURS), None):
        raise InvalidRequest(f"config.{key} holds {ours}, which is set for each instance.", param=key)
    return words


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "model_path": path,
        "mmproj_path": path,
        "chat_template": text,
        "chat_template_path": path,
        "n_ctx": integer(0),
        "n_gpu_layers": integer(-1),
        "n_batch": integer(32),
        "threads": integer(1),
        "slots": integer(1),
        "kv_type": one_of(KV_BYTES),
        "flash_attention": flag,
        "cache_ram_mib": integer(0),
        "check_tensors": flag,
        "use_mmap": flag,
        "vision": flag,
        "engine": one_of(ENGINES),
        "binary": text,
        "args": _arguments,
    }
)

_PROVIDER_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        **ENGINE_READERS,
        "threads": integer(1),
        "engine": one_of(ENGINES),
        "binary": text,
        "args": _arguments,
        "python": path,
    }
)
