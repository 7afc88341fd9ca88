"""Settings and the environment, read in one place.

`lanhaven.config` itself imports nothing heavy: the client commands ask only `client_environment`, and pydantic is
loaded when `Settings`, `load_settings`, `origins` or one of their companions is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lanhaven.config.environ import ClientEnvironment, client_environment, engine_environment

if TYPE_CHECKING:
    from lanhaven.config.settings import Settings
    from lanhaven.config.sources import Origin, find_config_file, load_settings, origins

__all__ = [
    "ClientEnvironment",
    "Origin",
    "Settings",
    "client_environment",
    "engine_environment",
    "find_config_file",
    "load_settings",
    "origins",
]


def __getattr__(name: str) -> object:
    """Load the settings on first use (PEP 562): pydantic costs 0.2 s, which `lanhaven ps` does not owe."""
    if name == "Settings":
        return vars(import_module("lanhaven.config.settings"))[name]
    if name in __all__:
        return vars(import_module("lanhaven.config.sources"))[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
