"""Models and instances as LM Studio tells of them, and which of them a client means.

    facts_of(info)                       what LM Studio says of a model, for REST and WebSocket alike
    model_info(...), instance_info(...)  the objects of the WebSocket protocol, with what SDKs after 1.5.0 require
    find_instance(gateway, specifier)    the loaded instance that a specifier, an identifier or a path prefix means
    find_models(gateway, name)           the models that a key, an alias, or a path prefix means

Optional fields that are unknown are left out: JavaScript clients drop an answer that has null for one, and then wait
for ever.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.dialects.lmstudio.errors import no_model, no_path, unloaded, wrong_domain
from lanhaven.errors import InvalidRequest, ModelNotFound
from lanhaven.gateway import Gateway
from lanhaven.types.models import Instance, InstanceState, ModelInfo, ModelKind

LLM, EMBEDDING = "llm", "embedding"
DEFAULT_CONTEXT = 2048  # LM Studio's own, where a number is required and none is known
NO_PUBLISHER = "local"

# A failed instance comes back with the next request that means it.
_LOADED = frozenset({InstanceState.READY, InstanceState.FAILED})
_WIRE_FORMATS = frozenset({"gguf", "safetensors", "onnx", "ggml", "torch_safetensors"})  # the clients know no others
_PARAMETERS = re.compile(r"(?<![a-z0-9.])((?:\d+x)?\d+(?:\.\d+)?[bm])(?![a-z0-9])", re.IGNORECASE)
_BITS = re.compile(r"(?:^|[a-z_])(\d{1,2})(?:bit|[_.-]|$)", re.IGNORECASE)
_HUB = re.compile(r"models--(?P<publisher>[^/]+?)--(?P<repo>[^/]+)$")
_WORDS = re.compile(r"[-_ :@]+")
# Nanoseconds since the epoch at the monotonic clock's zero, once: info that did not change must not look changed.
_EPOCH_NS = time.time_ns() - time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Facts:
    """A model in LM Studio's terms. `path` is publisher/repo/file, never a path on this machine.

    format: "gguf", "mlx", ... or "" where unknown. bits: of the quantization. max_context: tokens.
    """

    model_key: str
    type: str  # "llm" or "embedding"
    publisher: str
    path: str
    display_name: str
    format: str
    architecture: str | None
    params: str | None  # "135M"
    quantization: str | None
    bits: int | None
    size_bytes: int
    max_context: int
    vision: bool
    trained_for_tool_use: bool

    @property
    def wire_format(self) -> str:
        """As the WebSocket says it: MLX models are folders of safetensors there."""
        if self.format == "mlx":
            return "safetensors"
        return self.format if self.format in _WIRE_FORMATS else "gguf"


def domain_of(kind: ModelKind) -> str | None:
    """ "llm" or "embedding"; None for what LM Studio has no word for (rerankers)."""
    match kind:
        case ModelKind.LLM | ModelKind.VLM:
            return LLM
        case ModelKind.EMBEDDING:
            return EMBEDDING
        case ModelKind.RERANKER:
            return None


def facts_of(info: ModelInfo) -> Facts:
    """What LM Studio says of this model."""
    publisher, path = _place(info)
    quantization = info.quantization
    named = _PARAMETERS.search(info.key) or (_PARAMETERS.search(info.path.name) if info.path else None)
    return Facts(
        model_key=info.key,
        type=domain_of(info.kind) or LLM,
        publisher=publisher,
        path=path,
        display_name=_title(info.key),
        format=info.format,
        architecture=info.architecture,
        params=named[1].upper() if named else None,
        quantization=quantization,
        bits=_bits(quantization) if quantization else None,
        size_bytes=info.size_bytes,
        max_context=info.max_context or info.load.context_length or DEFAULT_CONTEXT,
        vision=info.kind is ModelKind.VLM or "vision" in info.capabilities,
        trained_for_tool_use="tools" in info.capabilities,
    )


def model_info(info: ModelInfo) -> dict[str, Any]:
    """ModelInfo of a downloaded model, with what newer SDKs require as well."""
    facts = facts_of(info)
    told: dict[str, Any] = {
        "type": facts.type,
        "modelKey": facts.model_key,
        "format": facts.wire_format,
        "displayName": facts.display_name,
        "publisher": facts.publisher,
        "path": facts.path,
        "indexedModelIdentifier": facts.path,
        "deviceIdentifier": None,
        "sizeBytes": facts.size_bytes,
        "maxContextLength": facts.max_context,
    }
    if facts.type == LLM:
        told |= {"vision": facts.vision, "trainedForToolUse": facts.trained_for_tool_use}
    if facts.params is not None:
        told["paramsString"] = facts.params
    if facts.architecture is not None:
        told["architecture"] = facts.architecture
    if facts.quantization is not None and facts.bits is not None:
        told["quantization"] = {"name": facts.quantization, "bits": facts.bits}
    return told


def instance_info(info: ModelInfo, instance: Instance) -> dict[str, Any]:
    """InstanceInfo of a loaded instance."""
    ttl = instance.load_config.idle_ttl
    if ttl is None and instance.expires_at is not None:
        ttl = instance.expires_at - instance.last_used  # the server's own, as it holds for what no one gave one
    return {
        **model_info(info),
        "identifier": instance.instance_id,
        "instanceReference": reference_of(instance),
        "contextLength": context_length(info, instance),
        "ttlMs": round(ttl * 1000) if ttl else None,
        "lastUsedTime": (_EPOCH_NS + round(instance.last_used * 1e9)) // 1_000_000,
    }


def context_length(info: ModelInfo, instance: Instance) -> int:
    """Tokens that one request to this instance may have."""
    return instance.load_config.context_length or info.max_context or DEFAULT_CONTEXT


def reference_of(instance: Instance) -> str:
    """Names this very load of the instance: the next one under the same identifier has another reference."""
    text = f"{instance.instance_id}\0{instance.loaded_at!r}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


# ---- Which one is meant


def models(gateway: Gateway, domain: str | None = None, client: str | None = None) -> list[ModelInfo]:
    """All models that LM Studio has a word for, of those that the client may use; of one domain, if it is named."""
    found = ((each, domain_of(each.kind)) for each in gateway.models(client))
    return [each for each, its in found if its is not None and domain in (None, its)]


def loaded(gateway: Gateway, domain: str | None = None, client: str | None = None) -> list[tuple[ModelInfo, Instance]]:
    """All loaded instances that the client may use with their models, oldest first."""
    found = []
    for instance in gateway.instances(client):
        info = gateway.catalog.get(instance.model_key)
        its = domain_of(instance.kind)
        if info is not None and instance.state in _LOADED and its is not None and domain in (None, its):
            found.append((info, instance))
    return found


def find_instance(
    gateway: Gateway, specifier: Any, domain: str | None = None, client: str | None = None
) -> tuple[ModelInfo, Instance]:
    """The loaded instance that `specifier` means: a ModelSpecifier, or a name (an identifier, a key, a path prefix).

    ModelNotFound with the clients' code for it; InvalidRequest for what is no specifier.
    """
    candidates = loaded(gateway, domain, client)
    match specifier:
        case str():
            query: Any = specifier
            found = _named(gateway, candidates, specifier)
        case {"type": "instanceReference", "instanceReference": str(reference)}:
            query, found = None, [each for each in candidates if reference_of(each[1]) == reference]
        case {"type": "query", "query": dict(query)}:
            found = _queried(gateway, candidates, query)
        case _:
            raise InvalidRequest("A model specifier is a query or an instanceReference.", param="specifier")
    if not found:
        raise unloaded() if query is None else no_model(query, [each.instance_id for _, each in candidates])
    return found[0]


def find_models(gateway: Gateway, name: str, domain: str | None = None, client: str | None = None) -> list[ModelInfo]:
    """The models that `name` means, the best first; more than one only for an ambiguous path prefix.

    ModelNotFound; Forbidden; InvalidRequest if the name is that of a model of another domain.
    """
    found = _models_named(gateway, name)
    if not found:
        raise no_path(name, [facts_of(each).path for each in models(gateway, domain, client)])
    usable = [each for each in found if gateway.admission.allows(client, each)]
    if not usable:
        gateway.admission.check(client, found[0], name)
    right = [each for each in usable if domain in (None, domain_of(each.kind))]
    if not right:
        raise wrong_domain(facts_of(usable[0]).path, domain_of(usable[0].kind) or usable[0].kind.value, str(domain))
    return right


def _models_named(gateway: Gateway, name: str) -> list[ModelInfo]:
    if not name:
        return []
    exact = gateway.catalog.get(name)
    if exact is not None:
        return [exact]
    by_path = [each for each in models(gateway) if _begins(facts_of(each).path, name)]
    if by_path:
        return by_path
    try:
        return [gateway.catalog.resolve(name, gateway.pool.ids()).info]
    except ModelNotFound:
        return []


def _named(
    gateway: Gateway, candidates: list[tuple[ModelInfo, Instance]], name: str
) -> list[tuple[ModelInfo, Instance]]:
    """By identifier exactly, in any case, by model key, by path prefix or alias; the first rule that finds one."""
    low = name.lower()
    for found in (
        [each for each in candidates if each[1].instance_id == name],
        [each for each in candidates if each[1].instance_id.lower() == low],
        [each for each in candidates if each[0].key.lower() == low],
    ):
        if found:
            return found
    keys = {each.key for each in _models_named(gateway, name)} if candidates and name else set()
    return [each for each in candidates if each[0].key in keys]


def _queried(
    gateway: Gateway, candidates: list[tuple[ModelInfo, Instance]], query: dict[str, Any]
) -> list[tuple[ModelInfo, Instance]]:
    """Everything that the query names must hold; `{}` means any."""
    found = candidates
    identifier, path = query.get("identifier"), query.get("path")
    if isinstance(identifier, str):
        found = _named(gateway, found, identifier)
    if isinstance(path, str):
        found = [each for each in found if _below(facts_of(each[0]).path, path)]
    if isinstance(query.get("domain"), str):
        found = [each for each in found if domain_of(each[0].kind) == query["domain"]]
    if isinstance(query.get("vision"), bool):
        found = [each for each in found if facts_of(each[0]).vision is query["vision"]]
    if isinstance(query.get("deviceIdentifier"), str):
        found = []  # a device is another machine that LM Studio links; all that is here is local to us
    return found


def _begins(path: str, wanted: str) -> bool:
    """An identifier matches from the beginning of a path, within a part too, once it names more than the publisher."""
    return "/" in wanted.rstrip("/") and path.lower().startswith(wanted.lower())


def _below(path: str, wanted: str) -> bool:
    """A path query matches whole parts."""
    low, whole = wanted.lower().rstrip("/"), path.lower()
    return whole == low or whole.startswith(low + "/")


# ---- From what LanHaven knows to LM Studio's words


def _place(info: ModelInfo) -> tuple[str, str]:
    """Publisher and path. The folders publisher/repo are known of LM Studio's and of Hugging Face's stores only."""
    name = info.path.name if info.path is not None else _last(info.key)
    publisher, repo = _store_of(info.path) or _split(info.key)
    return publisher, f"{publisher}/{repo}/{name}"


def _store_of(path: Path | None) -> tuple[str, str] | None:
    if path is None:
        return None
    parents = [each.name for each in path.parents]
    if len(parents) > 2 and parents[2].lower() == "models":
        return parents[1], parents[0]
    hub = next((found for each in parents if (found := _HUB.match(each)) is not None), None)
    return (hub["publisher"], hub["repo"]) if hub is not None else None


def _split(key: str) -> tuple[str, str]:
    publisher, slash, repo = key.partition("/")
    return (publisher, repo.replace("/", "_")) if slash and publisher and repo else (NO_PUBLISHER, key)


def _last(key: str) -> str:
    return key.rstrip("/").rpartition("/")[2]


def _bits(quantization: str) -> int | None:
    """Bits of a weight: 4 of Q4_K_M, IQ4_XS, MXFP4 and 4bit, 16 of BF16."""
    found = _BITS.search(quantization)
    return int(found[1]) if found else None


def _title(key: str) -> str:
    """A name for people: smollm2-135m-instruct -> Smollm2 135M Instruct."""
    words = [each for each in _WORDS.split(_last(key)) if each]
    titled = (word.upper() if _PARAMETERS.fullmatch(word) else word[:1].upper() + word[1:] for word in words)
    return " ".join(titled) or key
