"""Which providers there are: name -> where its factory stands. Adding one of ours is one line here.

Another package adds one by an entry point in the group `lanhaven.providers` that names a factory
`create(context: ProviderContext) -> Provider`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType

from lanhaven.providers.base import Provider, ProviderContext

GROUP = "lanhaven.providers"

OURS: Mapping[str, str] = MappingProxyType(
    {
        "llama_cpp": "lanhaven.providers.llamacpp:create",
        "openai": "lanhaven.providers.openai:create",
        "mock": "lanhaven.providers.mock:create",
    }
)


def provider_names() -> tuple[str, ...]:
    """Every provider that can be created: ours, then those that other packages bring."""
    return (*OURS, *(each.name for each in entry_points(group=GROUP) if each.name not in OURS))


def create(name: str, context: ProviderContext) -> Provider:
    """A provider. KeyError for a name that nobody registered; importing a foreign one may raise whatever it likes."""
    factory = _ours(OURS[name]) if name in OURS else entry_points(group=GROUP)[name].load()
    made: Provider = factory(context)
    return made


def _ours(where: str) -> Callable[[ProviderContext], Provider]:
    module, _, attribute = where.partition(":")
    factory: Callable[[ProviderContext], Provider] = vars(import_module(module))[attribute]
    return factory
