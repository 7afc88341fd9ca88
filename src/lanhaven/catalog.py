"""The catalog: all models that could run, and which of them a name means.

Models come from models.yaml (described by their providers) and from the providers themselves. Both are folded into one
index, which is replaced as a whole: looking a name up is a few dict accesses, whatever the number of models (F-073).
"""

from __future__ import annotations

import asyncio
import copy
import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lanhaven.errors import (
    GatewayError,
    InstanceConflict,
    InternalError,
    ModelNotFound,
    NoActiveModel,
    ProviderUnavailable,
)
from lanhaven.models_file.difference import Difference, difference
from lanhaven.providers.base import ModelEntry, Provider
from lanhaven.types.models import ModelInfo

ASK_TIMEOUT = 10.0  # seconds that a provider has to list its models
LATEST = ":latest"  # Ollama's clients add it, or leave it out
ACTIVE_NAMES = frozenset({"", "default", "auto"})  # C24
SHOWN_NAME = 200  # characters of an unknown name that are repeated in the error
NEAR_NAMES = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means: a model, and one instance of it if the name was an instance's."""

    info: ModelInfo
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class Active:
    """The model, and maybe the instance, for requests that name none."""

    model_key: str
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Index:
    """One state of the catalog. Every value of `names` and `folded` is a key of `models`."""

    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)  # keys, aliases, keys without ":latest"
    folded: Mapping[str, str] = field(default_factory=dict)  # the same in lower case, where one model only is meant
    problems: tuple[str, ...] = ()


class Catalog:
    """Names to models, and the active model. To be used from one event loop.

    entries: of models.yaml. providers: by name, in order of precedence for models that they know themselves.
    """

    def __init__(
        self, entries: Sequence[ModelEntry], providers: Mapping[str, Provider], *, default_model: str | None = None
    ) -> None:
        self._entries = tuple(entries)
        self._providers = providers
        self._default = default_model
        self._described = {entry.id: (entry, self._describe(entry)) for entry in self._enabled()}
        self._found: dict[str, tuple[ModelInfo, ...]] = {}
        self._failures: dict[str, str] = {}
        self._unheard: dict[str, GatewayError] = {}  # providers that never told what they have, and why
        self._active: Active | None = None
        self._index = _Index()
        self._refreshing = asyncio.Lock()
        self._rebuild()

    def models(self) -> Sequence[ModelInfo]:
        """Every model: those of models.yaml in the file's order, then those the providers know."""
        return tuple(self._index.models.values())

    def lists(self, key: str) -> bool:
        """Whether the model is one of models.yaml; the others are known to providers by themselves."""
        return key in self._described

    def get(self, key: str) -> ModelInfo | None:
        """The model with this key, spelled exactly."""
        return self._index.models.get(key)

    def resolve(
        self,
        name: str | None,
        instances: Mapping[str, str],
        known: Callable[[], Iterable[ModelInfo]] | None = None,
    ) -> Target:
        """The model that a request means; `instances` maps the identifiers of loaded instances to model keys.

        known: the models that an error may name; None: any.

        An instance identifier comes first, then keys, then aliases; each exactly, then without ":latest", then in any
        case if one model only is meant. No name, "default" and "auto" mean the active model, else default_model.
        NoActiveModel or ModelNotFound otherwise, or the error of a provider that has never told what it has; never
        another model than the one named (C24).
        """
        if name is None or name in ACTIVE_NAMES:
            return self._unnamed(instances, known or self.models)
        found = self._exact(name, instances) or self._exact(name.removesuffix(LATEST), instances)
        found = found or self._any_case(name, instances)
        if found is None:
            raise self._not_found(name, known)
        return found

    @property
    def active(self) -> Active | None:
        """The active model and instance."""
        return self._active

    @property
    def default_model(self) -> str | None:
        """Key of the model for requests without a name while none is active; None where none is set, or it is gone."""
        return self._index.names.get(self._default) if self._default is not None else None

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the catalog, a sentence each: names that clash, providers that did not answer."""
        return (*self._index.problems, *self._failures.values())

    @property
    def complete(self) -> bool:
        """Whether every provider told its models when it was asked last."""
        return not self._failures

    def activate(self, model_key: str, instance_id: str | None = None) -> None:
        """Make this the model for requests without a name."""
        self._active = Active(model_key, instance_id)

    def deactivate_if(self, instance_id: str) -> bool:
        """No model is active any more, if it was this instance; whether it was."""
        was = self._active is not None and self._active.instance_id == instance_id
        if was:
            self._active = None
        return was

    def owner(self, name: str) -> str | None:
        """Key of the model that has this name, spelled exactly."""
        return self._index.names.get(name)

    def check_identifier(self, name: str | None, key: str) -> None:
        """Whether an instance of the model `key` may be called so.

        InstanceConflict for a name of another model, and for those that mean the active one: requests for them would
        come to this instance, or never reach it.
        """
        owner = None if name is None else self.owner(name)
        if name in ACTIVE_NAMES:
            raise InstanceConflict(
                f"{name!r} means the active model, no instance can be called so.", param="instanceId"
            )
        if owner is not None and owner != key:
            raise InstanceConflict(
                f"{name!r} is a name of the model {owner}, no instance of {key} can be called so.", param="instanceId"
            )

    async def replace(self, entries: Sequence[ModelEntry], *, default_model: str | None = None) -> Difference:
        """Take over a new models.yaml, all of it in one moment. Entries that changed, or could not run, are described
        anew. To be called by one task at a time."""
        old = dict(self._described)
        described = await asyncio.to_thread(self._describe_all, [each for each in entries if each.enabled], old)
        for key, newer in self._described.items():  # looked at again meanwhile
            if newer is not old.get(key) and key in described and described[key][0] == newer[0]:
                described[key] = newer
        before, default = self._index.models, self.default_model
        self._entries, self._default, self._described = tuple(entries), default_model, described
        self._rebuild()
        return difference(before, self._index.models, (default, self.default_model))

    def _describe_all(
        self, entries: Sequence[ModelEntry], known: Mapping[str, tuple[ModelEntry, ModelInfo]]
    ) -> dict[str, tuple[ModelEntry, ModelInfo]]:
        described = {}
        for entry in entries:
            before, info = known.get(entry.id, (None, None))
            usable = info is not None and before == entry and info.unavailable is None
            described[entry.id] = (entry, info if info and usable else self._describe(entry))
        return described

    async def refresh(self) -> None:
        """Look at all models again, and ask the providers which they know. Who fails keeps the last answer."""
        async with self._refreshing:
            entries = tuple(self._enabled())
            infos = await asyncio.to_thread(lambda: [self._describe(entry) for entry in entries])
            for entry, info in zip(entries, infos, strict=True):
                if self._described.get(entry.id, (None, None))[0] is entry:  # not replaced meanwhile
                    self._described[entry.id] = (entry, info)
            await self._ask_all()
            self._rebuild()

    async def ask(self) -> None:
        """Ask the providers again which models they know. Of models.yaml only entries of those that have news are
        looked at again."""
        async with self._refreshing:
            before = dict(self._found)
            await self._ask_all()
            changed = {name for name, infos in self._found.items() if before.get(name) != infos}
            for entry in self._enabled():
                if entry.provider in changed:
                    self._described[entry.id] = (entry, self._describe(entry))
            if changed:
                self._rebuild()

    def __repr__(self) -> str:
        return f"Catalog(models={len(self._index.models)} active={self._active} problems={len(self.problems)})"

    def _enabled(self) -> Iterator[ModelEntry]:
        return (entry for entry in self._entries if entry.enabled)

    def _describe(self, entry: ModelEntry) -> ModelInfo:
        """The model of an entry. One that cannot be described stays in the list, with the reason."""
        provider = self._providers.get(entry.provider)
        if provider is None:
            hint = near(entry.provider, self._providers) or sorted(self._providers)
            reason = f"There is no provider {entry.provider!r} here; there are: {', '.join(hint)}."
            info = ModelInfo(entry.id, entry.provider, unavailable=reason)
        else:
            try:
                info = provider.describe(entry)
            except GatewayError as error:
                info = ModelInfo(entry.id, entry.provider, unavailable=error.message)
            except OSError as error:
                info = ModelInfo(entry.id, entry.provider, unavailable=f"Its file cannot be read: {error.strerror}.")
            except Exception as error:  # noqa: BLE001 - a plug-in with a defect
                _log.error("provider %s failed to describe %s", entry.provider, entry.id, exc_info=error)
                info = ModelInfo(entry.id, entry.provider, unavailable="Its provider failed in an unforeseen way.")
        return replace(
            info,
            key=entry.id,
            provider=entry.provider,
            aliases=entry.aliases or info.aliases,
            description=entry.description or info.description,
            load=entry.load.over(info.load),
            sampling=entry.sampling.over(info.sampling),
            pinned=entry.pinned,
            preload=entry.preload,
            config=entry.config,
        )

    async def _ask_all(self) -> None:
        """Every provider's answer, kept at one moment: until the index is rebuilt, nothing of them may show."""
        answers = await asyncio.gather(*(self._ask(name) for name in self._providers))
        for name, answer in zip(self._providers, answers, strict=True):
            if isinstance(answer, GatewayError):
                self._missed(name, answer)
            else:
                self._found[name] = answer
                self._failures.pop(name, None)
                self._unheard.pop(name, None)

    async def _ask(self, name: str) -> tuple[ModelInfo, ...] | GatewayError:
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                return tuple(await self._providers[name].models())
        except GatewayError as error:
            return error
        except TimeoutError:
            return ProviderUnavailable(f"no answer within {ASK_TIMEOUT:g} s")
        # A provider is a plug-in: one with a defect must not end the asking of the others, which never ends.
        except Exception as error:  # noqa: BLE001
            _log.error("provider %s failed to list its models", name, exc_info=error)
            return InternalError("it failed in an unforeseen way")

    def _missed(self, name: str, error: GatewayError) -> None:
        self._failures[name] = f"{name}: its models could not be listed: {error.message}"
        if name not in self._found and isinstance(error, ProviderUnavailable):
            self._unheard[name] = error

    def _rebuild(self) -> None:
        listed = [info for _, info in self._described.values()]
        found = [info for name in self._providers for info in self._found.get(name, ())]
        disabled = {entry.id for entry in self._entries if not entry.enabled}
        self._index = build_index(listed, [info for info in found if info.key not in disabled], self._default)
        if self._active is not None and self._active.model_key not in self._index.models:
            self._active = None

    def _unnamed(self, instances: Mapping[str, str], known: Callable[[], Iterable[ModelInfo]]) -> Target:
        active = self._active
        if active is not None and (info := self.get(active.model_key)) is not None:
            return Target(info, active.instance_id if active.instance_id in instances else None)
        default = self.default_model
        if default is not None:
            return Target(self._index.models[default])
        usable = next((info.key for info in known() if info.unavailable is None), "MODEL")
        raise NoActiveModel(
            "The request names no model, and none is active.",
            param="model",
            hint=f"lanhaven load {usable}",
            retry=False,
        )

    def _exact(self, name: str, instances: Mapping[str, str]) -> Target | None:
        index = self._index
        loaded = index.models.get(instances[name]) if name in instances else None
        if loaded is not None:
            return Target(loaded, name)
        key = index.names.get(name)
        return Target(index.models[key]) if key is not None else None

    def _any_case(self, name: str, instances: Mapping[str, str]) -> Target | None:
        """The slow path of a name that is not spelled exactly; it walks the few loaded instances, never the models."""
        index = self._index
        for folded in (name.lower(), name.lower().removesuffix(LATEST)):
            alike = [each for each in instances if each.lower() == folded and instances[each] in index.models]
            if len(alike) == 1:
                return Target(index.models[instances[alike[0]]], alike[0])
            key = index.folded.get(folded)
            if not alike and key is not None:
                return Target(index.models[key])
        return None

    def _not_found(self, name: str, known: Callable[[], Iterable[ModelInfo]] | None) -> GatewayError:
        """While a provider has never told what it has, the model may be one of its own: then its own error (S0-76)."""
        unheard = next(iter(self._unheard.values()), None)
        return copy.copy(unheard) if unheard is not None else self._unknown(name, known)

    def _unknown(self, name: str, known: Callable[[], Iterable[ModelInfo]] | None) -> ModelNotFound:
        cut = name if len(name) <= SHOWN_NAME else name[:SHOWN_NAME] + "…"
        shown = cut.encode(errors="replace").decode()  # a lone surrogate could not be sent
        names = self._index.names
        if known is not None:
            keys = {info.key for info in known()}
            names = {each: key for each, key in names.items() if key in keys}
        close = {names[each]: each for each in reversed(near(shown, names))}  # the nearest name of each model
        hint = f"did you mean {' or '.join(reversed(close.values()))}?" if close else "lanhaven ls lists the models"
        return ModelNotFound(f"Model not found: {shown}", param="model", hint=hint, retry=False)


def build_index(listed: Sequence[ModelInfo], found: Sequence[ModelInfo], default_model: str | None) -> _Index:
    """The index over the models of models.yaml and those that providers know. Where names clash, the earlier wins."""
    models = {info.key: info for info in listed}
    problems = []
    for info in found:
        first = models.setdefault(info.key, info)
        if first.provider != info.provider:
            problems.append(f"{info.key!r} of {info.provider} is hidden by the one of {first.provider}")
    names = {key: key for key in models}
    for info in models.values():
        for alias in info.aliases:
            owner = names.setdefault(alias, info.key)
            if owner != info.key:
                problems.append(
                    f"the alias {alias!r} of {info.key!r} is a name of {owner!r} already; that one is meant"
                )
    for key in models:
        names.setdefault(key.removesuffix(LATEST), key)
    if default_model is not None and default_model not in names:
        problems.append(f"default_model {default_model!r} is no model here")
    return _Index(models, names, _folded(names), tuple(problems))


def near(name: str, names: Iterable[str]) -> list[str]:
    """Up to three names like this one. Only names that begin alike or contain it are tried: difflib is slow."""
    low = name.lower()
    alike = [each for each in names if each[:2].lower() == low[:2] or (len(low) > 2 and low in each.lower())]
    return difflib.get_close_matches(name, alike[:100], NEAR_NAMES, 0.5)


def _folded(names: Mapping[str, str]) -> dict[str, str]:
    folded: dict[str, set[str]] = {}
    for name, key in names.items():
        folded.setdefault(name.lower(), set()).add(key)
    return {name: next(iter(keys)) for name, keys in folded.items() if len(keys) == 1}
