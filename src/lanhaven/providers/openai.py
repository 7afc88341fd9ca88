"""Any server that speaks OpenAI, at a fixed address: another LanHaven, vLLM, a cloud.

    models:
      - id: big
        provider: openai
        config:
          base_url: https://llm.example/v1      # with or without /v1
          model: llama-3.3-70b                  # its name there; not said = the id
          api_key: sk-...
          slots: 8                              # requests at once; not said = it bounds itself
          context_length: 32768
          kind: llm                             # or vlm, embedding, reranker
          headers: {x-team: lab}

A load sends nothing: the server may be down now and up when a request comes. A request to a server that is down is a
503 that names the model. There is no memory of ours in it, so it costs nothing to keep it loaded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
import msgspec

from lanhaven.errors import InvalidRequest
from lanhaven.providers.base import (
    Health,
    Ignored,
    Loaded,
    LoadObserver,
    ModelEntry,
    ProviderContext,
    Running,
)
from lanhaven.types.chat import PASSED
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind, Upstream

HEALTH_TIMEOUT = 1.5
RESERVED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)

_ROUTES = {
    ModelKind.LLM: frozenset({"/v1/chat/completions", "/v1/completions"}),
    ModelKind.VLM: frozenset({"/v1/chat/completions", "/v1/completions"}),
    ModelKind.EMBEDDING: frozenset({"/v1/embeddings"}),
    ModelKind.RERANKER: frozenset({"/v1/rerank"}),
}
_CAPABILITIES = {
    ModelKind.LLM: frozenset({"chat", "completion", "tools"}),
    ModelKind.VLM: frozenset({"chat", "completion", "tools", "vision"}),
    ModelKind.EMBEDDING: frozenset({"embedding"}),
    ModelKind.RERANKER: frozenset({"rerank"}),
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x20-\x7e\t]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIConfig:
    """The provider's own settings of a model in models.yaml."""

    base_url: str
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    slots: int | None = None
    context_length: int | None = None
    kind: ModelKind = ModelKind.LLM
    capabilities: tuple[str, ...] | None = None  # instead of those of the kind; also speech, transcription ...


def create(context: ProviderContext) -> OpenAIProvider:
    """Options (`providers: {openai: ...}`): base_url, api_key and headers, for models that have none of their own."""
    shared = {name: context.options[name] for name in ("base_url", "api_key", "headers") if name in context.options}
    return OpenAIProvider(shared)


class OpenAIProvider:
    """See the module. `shared`: settings for models that do not have them."""

    name = "openai"
    load_fields: frozenset[str] = frozenset({"slots", "idle_ttl"})
    sampling_fields = frozenset({"temperature", "top_p", "max_tokens", "stop", "seed", "stream"})

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self._shared = shared
        self._servers: Mapping[str, Upstream] = {}  # by base URL: one upstream to ask whether it lives
        self._loaded: set[str] = set()

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """InvalidRequest names the setting that is wrong."""
        config = self._config(entry.config)
        upstream = upstream_of(config, entry.id)
        self._servers = {
            **self._servers,
            str(upstream.base_url): upstream,
        }  # may run in a thread: replaced, not changed
        usual = _CAPABILITIES[config.kind]
        return ModelInfo(
            key=entry.id,
            provider=self.name,
            kind=config.kind,
            max_context=config.context_length,
            capabilities=usual if config.capabilities is None else frozenset(config.capabilities),
            guessed=config.capabilities is None and config.kind is ModelKind.LLM,  # is it one that sees? Who knows
            description=entry.description,
            aliases=entry.aliases,
            load=entry.load,
            sampling=entry.sampling,
            pinned=entry.pinned,
            preload=entry.preload,
            config=entry.config,
        )

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    async def instances(self) -> Sequence[Running] | None:
        return None  # whatever runs there is that server's business

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        settings = self._config(info.config)
        upstream = upstream_of(settings, info.key, config.slots)
        known = LoadConfig(context_length=settings.context_length, slots=upstream.slots, idle_ttl=config.idle_ttl)
        observer.progress("ready", 1.0)
        self._loaded.add(instance_id)
        ignored = tuple(
            Ignored(_admin_name(name), "another server runs this model; it decides how")
            for name in sorted(config.said().keys() - self.load_fields)
        )
        applied = {"slots": upstream.slots} if config.slots is not None else {}
        return Loaded(upstream=upstream, load_config=known, applied=applied, ignored=ignored)

    async def unload(self, instance_id: str) -> None:
        self._loaded.discard(instance_id)

    async def health(self) -> Health:
        """Asks every server for its models, all at once. Addresses are not in the text."""
        servers = tuple(self._servers.values())
        if not servers:
            return Health(True, "server", "no model uses it")
        start = monotonic()
        answers = await asyncio.gather(*(_answers(each) for each in servers))
        took = (monotonic() - start) * 1000
        up = sum(answers)
        detail = f"{up} of {len(servers)} servers answer"
        address = ", ".join(str(each.base_url) for each in servers)
        return Health(up == len(servers), "server", detail, latency_ms=took if up else None, address=address)

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        self._loaded.clear()

    def _config(self, values: Mapping[str, Any]) -> OpenAIConfig:
        merged = {**self._shared, **values}
        unknown = sorted(merged.keys() - OpenAIConfig.__slots__)
        if unknown:
            raise InvalidRequest(f"The openai provider has no setting {unknown[0]!r}.", param=unknown[0])
        if not merged.get("base_url"):
            raise InvalidRequest("The openai provider needs a base_url.", param="base_url")
        try:
            return msgspec.convert(merged, OpenAIConfig)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"A setting of the openai provider is wrong: {error}.") from None

    def __repr__(self) -> str:
        return f"OpenAIProvider(servers={len(self._servers)} loaded={len(self._loaded)})"


def upstream_of(config: OpenAIConfig, key: str, slots: int | None = None) -> Upstream:
    """Where requests go. InvalidRequest for an address or header that cannot be one."""
    url = _checked(config.base_url)
    path = url.path.rstrip("/")
    path = path.removesuffix("/v1")
    headers = {"authorization": f"Bearer {config.api_key}"} if config.api_key else {}
    for name, value in config.headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in RESERVED_HEADERS:
            raise InvalidRequest(f"Header {name[:40]!r} cannot be sent.", param="headers")
        headers[name.lower()] = value
    if not _VALUE.fullmatch(headers.get("authorization", "")):
        raise InvalidRequest("api_key holds characters that no header can carry.", param="api_key")
    return Upstream(
        model=config.model or key,
        base_url=f"{url.scheme}://{url.netloc}",
        prefix=path,
        headers=tuple(headers.items()),
        slots=slots or config.slots,
        routes=_ROUTES[config.kind] | {route for route in PASSED if route.capability in (config.capabilities or ())},
    )


def _checked(base_url: str) -> SplitResult:
    """http or https, a host, maybe a port and a path; nothing that would be lost or leak."""
    try:
        url = urlsplit(base_url)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        raise InvalidRequest("base_url is not a URL.", param="base_url") from None
    if not usable or not _VALUE.fullmatch(base_url) or " " in base_url:
        raise InvalidRequest("base_url must look like http://host:port or https://host/v1.", param="base_url")
    if url.username is not None or url.query or url.fragment:
        raise InvalidRequest("base_url must hold no user, query or fragment; keys go into api_key.", param="base_url")
    return url


async def _answers(upstream: Upstream) -> bool:
    """Whether the server answers GET /v1/models with anything but a server error."""
    url = f"{upstream.base_url}{upstream.prefix}/v1/models"
    timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as http,
            http.get(url, headers=dict(upstream.headers), allow_redirects=False) as reply,
        ):
            return reply.status < 500
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False


def _admin_name(name: str) -> str:
    """gpu_ratio -> gpu.ratio, cpu_threads -> cpuThreads."""
    head, *rest = name.split("_")
    return f"gpu.{rest[0]}" if head == "gpu" else head + "".join(each.capitalize() for each in rest)
