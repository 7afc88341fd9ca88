"""The `config:` of a llama_cpp model in models.yaml, and the provider's own settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.formats.ggml import KV_BYTES
from lanhaven.types.models import LoadConfig

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
    load: LoadConfig = LoadConfig()


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the provider uses where nobody says anything. `stop_seconds`: from SIGTERM to SIGKILL.

    probe_*: how often a child is asked whether it lives, for how long, and how often it may be silent (see Timers).
    """

    context_length: int = 8192
    slots: int = 4
    cache_ram_mib: int = 256
    stop_seconds: float = 10.0
    threads: int | None = None
    probe_every: float | None = None
    probe_timeout: float | None = None
    probe_misses: int | None = None

    def probes(self) -> dict[str, Any]:
        """Fields of Timers that were said."""
        said = {
            "probe_every": self.probe_every,
            "probe_timeout": self.probe_timeout,
            "probe_misses": self.probe_misses,
        }
        return {name: value for name, value in said.items() if value is not None}


def read_options(config: Mapping[str, Any]) -> Options:
    """InvalidRequest names the setting that is unknown or of the wrong type, and what may have been meant."""
    _refuse_unknown(config, _READERS)
    values = {key: _READERS[key](key, value) for key, value in config.items() if value is not None}
    if "model_path" not in values:
        raise InvalidRequest("config.model_path is missing: the GGUF file of the model.", param="model_path")
    if "chat_template" in values and "chat_template_path" in values:
        raise InvalidRequest("config has both chat_template and chat_template_path.", param="chat_template")
    vision = values.pop("vision", False)
    if vision and "mmproj_path" not in values:
        raise InvalidRequest("config.vision needs mmproj_path, the projector's GGUF file.", param="mmproj_path")
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
    _refuse_unknown(options, _PROVIDER_READERS)
    return Defaults(
        **{
            field: read(key, options[key])
            for key, (field, read) in _PROVIDER_READERS.items()
            if options.get(key) is not None
        }
    )


def _refuse_unknown(config: Mapping[str, Any], known: Mapping[str, object]) -> None:
    for key in config:
        if key in known:
            continue
        close = difflib.get_close_matches(str(key), known, 1)
        advice = ELSEWHERE.get(str(key)) or (f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}.")
        raise InvalidRequest(f"config.{key} is no setting of llama_cpp: {advice}", param=str(key))


def _gpu(layers: int | None) -> dict[str, Any]:
    """-1 is how llama-cpp-python says all of them."""
    if layers is None:
        return {}
    return {"gpu_layers": layers} if layers >= 0 else {"gpu_ratio": 1.0}


Reader = Callable[[str, Any], Any]


def _wrong(key: str, value: object, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"config.{key} must be {wanted}, not {value!r}.", param=key)


def _integer(least: int) -> Reader:
    def read(key: str, value: Any) -> int:
        if type(value) is not int or value < least:
            raise _wrong(key, value, f"a whole number from {least} on")
        return value

    return read


def _seconds(key: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise _wrong(key, value, "a number of seconds")
    return float(value)


def _some_seconds(key: str, value: Any) -> float:
    """Longer than none: a clock that is asked without a pause is no clock."""
    if _seconds(key, value) == 0:
        raise _wrong(key, value, "more than 0 seconds")
    return float(value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(key, value, "a text")
    return value


def _path(key: str, value: Any) -> Path:
    if isinstance(value, Path):
        return value
    return Path(_text(key, value)).expanduser()


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def _kv_type(key: str, value: Any) -> str:
    if value not in KV_BYTES:
        raise _wrong(key, value, f"one of {', '.join(KV_BYTES)}")
    return str(value)


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "model_path": _path,
        "mmproj_path": _path,
        "chat_template": _text,
        "chat_template_path": _path,
        "n_ctx": _integer(0),
        "n_gpu_layers": _integer(-1),
        "n_batch": _integer(32),
        "threads": _integer(1),
        "slots": _integer(1),
        "kv_type": _kv_type,
        "flash_attention": _flag,
        "cache_ram_mib": _integer(0),
        "check_tensors": _flag,
        "use_mmap": _flag,
        "vision": _flag,
    }
)

_PROVIDER_READERS: Mapping[str, tuple[str, Reader]] = MappingProxyType(
    {
        "context_length": ("context_length", _integer(1)),
        "default_slots": ("slots", _integer(1)),
        "prompt_cache_mib": ("cache_ram_mib", _integer(0)),
        "engine_stop": ("stop_seconds", _seconds),
        "threads": ("threads", _integer(1)),
        "probe_every": ("probe_every", _some_seconds),
        "probe_timeout": ("probe_timeout", _some_seconds),
        "probe_misses": ("probe_misses", _integer(1)),
    }
)
