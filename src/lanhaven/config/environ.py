"""The process environment: the only file that reads `os.environ`. Imports the standard library only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

# What an engine needs of our environment. Everything else stays out: keys, proxies (F-048), tokens, the shell's own.
ENGINE_NAMES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "PYTHONPATH"),
        *("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
        *("DYLD_FRAMEWORK_PATH", "DYLD_INSERT_LIBRARIES"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "PROCESSOR_ARCHITECTURE"),
        *("USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA"),
    )
)
# Locale, OpenMP and the GPU runtimes have families of variables.
ENGINE_PREFIXES = (
    *("LC_", "GOMP_", "OMP_", "KMP_"),
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "ROCM_", "HSA_", "VK_", "GGML_", "METAL_"),
)
SECRET_MARKS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")

# Measured on two cores with llama.cpp: the default spin count starves on a busy machine (1 to 16 tokens/s),
# 0 is three times slower on a quiet one, 1000 is good on both. It must stand there before libgomp is loaded.
SPIN_COUNT = "1000"


class ClientEnvironment(NamedTuple):
    """Which server the client commands talk to, and with which key, and whom they trust; None = not said."""

    url: str | None
    key: str | None
    ca: str | None = None

    def __repr__(self) -> str:
        return f"ClientEnvironment(url={self.url!r}, key={'***' if self.key else None})"


def environment() -> Mapping[str, str]:
    """A copy of the process environment."""
    return dict(os.environ)


def client_environment() -> ClientEnvironment:
    """`LANHAVEN_URL` and `LANHAVEN_API_KEY`, else `LM_STUDIO_BASE_URL` and `LM_STUDIO_API_KEY`; empty = not said.

    ca: a file of certificates to trust, and no others: `LANHAVEN_CA`.
    """
    return ClientEnvironment(
        url=_first("LANHAVEN_URL", "LM_STUDIO_BASE_URL"),
        key=_first("LANHAVEN_API_KEY", "LM_STUDIO_API_KEY"),
        ca=_first("LANHAVEN_CA"),
    )


def engine_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The minimal environment for an engine's process, with `extra` laid over it.

    Holds no keys, tokens or proxies unless `extra` brings them. OMP_NUM_THREADS is left out, so that the thread
    count of the load config decides.
    """
    kept = {name: value for name, value in os.environ.items() if _for_engines(name)}
    return {"GOMP_SPINCOUNT": SPIN_COUNT, **kept, "HF_HUB_OFFLINE": "1", **extra}


def _for_engines(name: str) -> bool:
    upper = name.upper()
    if upper == "OMP_NUM_THREADS" or any(mark in upper for mark in SECRET_MARKS):
        return False
    return upper in ENGINE_NAMES or upper.startswith(ENGINE_PREFIXES)


def _first(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)
