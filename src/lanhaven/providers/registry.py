"""Which providers there are: name -> where its factory stands. Adding one of ours is one line here.

Another package adds one by an entry point:

    [project.entry-points."lanhaven.providers"]
    mine = "my_package.provider:create"

A factory gets a ProviderContext and returns a Provider. One that cannot be made here says why in the list of models and
in the health report, and keeps nobody else from working.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import cast

from lanhaven.errors import GatewayError, InvalidRequest, UnsupportedFeature
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, Provider, ProviderContext, Running
from lanhaven.types.models import LoadConfig, ModelInfo

GROUP = "lanhaven.providers"

OURS: Mapping[str, str] = MappingProxyType(
    {
        "llama_cpp": "lanhaven.providers.llamacpp.provider:create",
        "mlx": "lanhaven.providers.mlx.provider:create",
        "command": "lanhaven.providers.command.provider:create",
        "openai": "lanhaven.providers.openai.provider:create",
        "lmstudio": "lanhaven.providers.lmstudio.provider:create",
        "ollama": "lanhaven.providers.ollama.provider:create",
        "mock": "lanhaven.providers.mock:create",
    }
)


def factories() -> Mapping[str, str]:
    """Name -> "module:function": ours, then those that other packages bring. They cannot take a name of ours."""
    plugged = {point.name: point.value for point in entry_points(group=GROUP) if point.name not in OURS}
    return {**OURS, **plugged}


def provider_names() -> tuple[str, ...]:
    """Every provider that can be asked for."""
    return tuple(factories())


def create(name: str, context: ProviderContext) -> Provider:
    """The provider of this name, or one that says why it cannot be had. InvalidRequest: there is none of this name."""
    place = OURS.get(name) or factories().get(name)  # only for one of others every package is looked at: 15 ms
    if place is None:
        raise InvalidRequest(f"There is no provider {name!r}; there are: {', '.join(factories())}.", param="provider")
    try:
        factory = cast("Callable[[ProviderContext], Provider]", pkgutil.resolve_name(place))
        return factory(context)
    except GatewayError as error:
        return UnavailableProvider(name, error.message, error.hint)
    except (ImportError, AttributeError, ValueError, OSError) as error:
        return UnavailableProvider(name, f"Provider {name} cannot be used: {error}.", None)


class UnavailableProvider:
    """Stands in for a provider that cannot be made: its models are listed with the reason, and cannot be loaded."""

    load_fields: frozenset[str] = frozenset()
    sampling_fields: frozenset[str] = frozenset()

    def __init__(self, name: str, reason: str, hint: str | None) -> None:
        self.name = name
        self._reason = reason
        self._hint = hint

    def describe(self, entry: ModelEntry) -> ModelInfo:
        return ModelInfo(entry.id, self.name, unavailable=self._text)

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    async def instances(self) -> Sequence[Running] | None:
        return ()

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        raise UnsupportedFeature(self._reason, hint=self._hint)

    async def unload(self, instance_id: str) -> None:
        return None

    async def health(self) -> Health:
        return Health(ok=False, kind="engine", detail=self._text)

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        return None

    @property
    def _text(self) -> str:
        return " ".join(filter(None, (self._reason, self._hint)))

    def __repr__(self) -> str:
        return f"UnavailableProvider({self.name}: {self._reason})"
