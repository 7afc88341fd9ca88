"""Loading a model with llama-cpp-python, and what it can compute on."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import llama_cpp
from llama_cpp import Llama
from llama_cpp._ggml import libggml

from lanhaven.engines.serving.log import Log

STEP = 0.02  # share of the weights between two reports
ALL_LAYERS = -1
LEVELS: Mapping[int, str] = MappingProxyType({1: "I", 2: "W", 3: "E"})  # ggml_log_level; not debug
CONTINUED = 5
TYPES = ("CPU", "GPU", "IGPU", "ACCEL")  # ggml_backend_dev_type


class Loading(Llama):  # type: ignore[misc] # the package has types, its metadata does not say so
    """A model that tells how far its load is. llama-cpp-python knows the callback, but takes none: it is put into the
    parameters when these are made."""

    def __init__(self, progress: Callable[[float], None], heard: object, **settings: Any) -> None:
        def told(share: float, _data: object) -> bool:
            progress(share)
            return True

        self._kept = heard, llama_cpp.llama_progress_callback(told)  # the library has only their addresses
        self._check = bool(settings.pop("check_tensors"))
        super().__init__(**settings)

    @property
    def model_params(self) -> Any:
        return self._params

    @model_params.setter
    def model_params(self, params: Any) -> None:
        params.progress_callback = self._kept[1]
        params.check_tensors = self._check
        self._params = params


def load_model(settings: Mapping[str, Any], log: Log) -> Llama:
    """In the thread that will compute. ValueError and others with what is wrong; llama.cpp's reason is in the log."""
    told = 0.0

    def progress(share: float) -> None:
        nonlocal told
        if share >= told + STEP or share == 1.0:
            told = share
            log.stage(f"loading tensors {share:.2f}")

    return Loading(progress, _log_by(log), **_arguments(settings))


def _log_by(log: Log) -> object:
    """llama.cpp's lines in our log, with their level: theirs leaves it out. Returns what must be kept."""
    line: list[str] = []
    letter = "I"

    def hear(level: int, text: bytes, _data: object) -> None:
        nonlocal letter
        letter = LEVELS.get(level, "") if level != CONTINUED else letter
        line.append(text.decode("utf-8", "replace"))
        if line[-1].endswith("\n"):
            whole = "".join(line).strip()
            line.clear()
            if letter and whole.strip("."):
                log.native(letter, whole)

    callback = llama_cpp.llama_log_callback(hear)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` (see plan.child_settings) for Llama. None leaves a value to it."""
    layers, batch, kv_type = settings.get("n_gpu_layers"), settings.get("n_batch"), settings.get("kv_type")
    if layers is None:
        layers = ALL_LAYERS if llama_cpp.llama_supports_gpu_offload() else 0
    flash = settings.get("flash_attention")
    said = {
        "n_batch": batch,
        "n_ubatch": settings.get("n_ubatch"),
        "n_threads": settings.get("threads"),
        "n_threads_batch": settings.get("threads"),
        "rope_freq_base": settings.get("rope_freq_base"),
        "rope_freq_scale": settings.get("rope_freq_scale"),
        "use_mmap": settings.get("mmap"),
        "type_k": _kv_type(kv_type),
        "type_v": _kv_type(kv_type),
    }
    return {
        "model_path": settings["model"],
        "n_gpu_layers": layers,
        "n_ctx": settings["n_ctx"],
        "embedding": bool(settings.get("embedding")),
        "flash_attn": flash if flash is not None else kv_type not in (None, "f16", "f32", "bf16"),
        "check_tensors": settings.get("check_tensors"),
        "verbose": True,
        **{name: value for name, value in said.items() if value is not None},
    }


def _kv_type(name: str | None) -> int | None:
    """The number of a type of ggml, which the package knows as GGML_TYPE_Q8_0."""
    return None if name is None else int(vars(llama_cpp)[f"GGML_TYPE_{name.upper()}"])


def ends_of(llama: Llama) -> frozenset[int]:
    """The tokens that end an answer."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    return frozenset(each for each in range(llama.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocabulary, each))


def devices() -> list[dict[str, Any]]:
    """As llamacpp_worker tells them. The package has no function for it; its library has."""
    llama_cpp.llama_backend_init()
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    found = [get(place) for place in range(_function("ggml_backend_dev_count", ctypes.c_size_t)())]
    return [_device(each) for each in found]


def _device(device: int) -> dict[str, Any]:
    name = _function("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)(device)
    description = _function("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)(device)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(device)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    size = ctypes.POINTER(ctypes.c_size_t)
    _function("ggml_backend_dev_memory", None, ctypes.c_void_p, size, size)(device, free, total)
    return {
        "name": name.decode("utf-8", "replace"),
        "description": description.decode("utf-8", "replace"),
        "type": TYPES[kind] if kind < len(TYPES) else "OTHER",
        "memory_total": total.value,
    }


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = libggml[name]
    function.restype, function.argtypes = result, arguments
    return function
