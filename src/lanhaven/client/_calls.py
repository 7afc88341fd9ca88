"""The calls behind the client's methods: typed requests in, what goes over the wire out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lanhaven.client._batch_types import BatchChatRequest
from lanhaven.client._chat_types import ChatCompletionRequest, CompletionRequest
from lanhaven.client._media_types import (
    EmbeddingRequest,
    ImageRequest,
    ResponseRequest,
    SpeechRequest,
    TranscriptionRequest,
)
from lanhaven.client._model_types import ListModelsFilter, ModelCard, ModelsList
from lanhaven.client._protocol import Call, Repeat, get
from lanhaven.client._settings import ClientSettings
from lanhaven.client._shape import Shape, camel, plain
from lanhaven.client._streaming import ChatStreamState, Downgraded
from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.types.models import LoadConfig, Sampling

CHAT = "/v1/chat/completions"
JOB = "/api/v1/ai/lmstudio"
LIST_LIMIT = 1000  # a page of models, where the client has to cut it itself


def chat(request: ChatCompletionRequest | Mapping[str, Any], settings: ClientSettings, *, path: str = CHAT) -> Call:
    """A chat for one whole answer."""
    body = _body(request, settings.default_model) | {"stream": False}
    if not body.get("messages"):
        raise InvalidRequest("A chat needs messages.", param="messages", retry=False)
    return Call("POST", path, body, timeout=settings.timeout)


def streamed_chat(
    request: ChatCompletionRequest | Mapping[str, Any],
    settings: ClientSettings,
    *,
    fallback: bool,
    on_downgraded: Downgraded | None,
) -> ChatStreamState:
    """A chat for a stream, with the usage at its end."""
    whole = chat(request, settings)
    body = {**(whole.body or {}), "stream": True}
    body.setdefault("stream_options", {"include_usage": True})
    stream = Call("POST", CHAT, body, timeout=settings.stream_idle_timeout)
    return ChatStreamState(stream, whole, settings, fallback, on_downgraded)


def batch_chat(request: BatchChatRequest | Mapping[str, Any], settings: ClientSettings, timeout: float | None) -> Call:
    """Many prompts. All of them together take longer than one answer: as long as a load may, unless it is said."""
    body = _body(request, settings.default_model) | {"stream": False}
    if "requests" in body and not body.get("messages"):
        body.pop("messages", None)
    patience = timeout or max(settings.load_timeout, settings.timeout)
    return Call("POST", "/v1/batch/chat/completions", body, timeout=patience, feature="batches of prompts")


def completion(request: CompletionRequest | Mapping[str, Any], settings: ClientSettings) -> Call:
    """A text to be continued."""
    body = _body(request, settings.default_model) | {"stream": False}
    return Call("POST", "/v1/completions", body, timeout=settings.timeout)


def embedding(request: EmbeddingRequest | Mapping[str, Any], settings: ClientSettings) -> Call:
    """Vectors."""
    return Call("POST", "/v1/embeddings", _body(request, settings.default_embedding_model), timeout=settings.timeout)


def response(request: ResponseRequest | Mapping[str, Any], settings: ClientSettings) -> Call:
    """OpenAI's Responses API."""
    body = _body(request, settings.default_model) | {"stream": False}
    return Call("POST", "/v1/responses", body, timeout=settings.timeout, feature="responses")


def transcription(request: TranscriptionRequest, settings: ClientSettings, kind: str) -> Call:
    """kind: transcriptions or translations."""
    _switched_on(settings.enable_audio, "audio")
    form = {name: str(value) for name, value in request.to_dict().items() if name != "file"}
    files = {"file": _file(request.file)}
    return Call("POST", f"/v1/audio/{kind}", form, files=files, timeout=settings.timeout, feature="audio")


def speech(request: SpeechRequest | Mapping[str, Any], settings: ClientSettings) -> Call:
    """Text to speech."""
    _switched_on(settings.enable_audio, "audio")
    return Call("POST", "/v1/audio/speech", _body(request, None), timeout=settings.timeout, feature="audio")


def image(request: ImageRequest | Mapping[str, Any], settings: ClientSettings) -> Call:
    """A picture."""
    _switched_on(settings.enable_images, "images")
    return Call("POST", "/v1/images/generations", _body(request, None), timeout=settings.timeout, feature="images")


def load(
    model: str,
    settings: ClientSettings,
    *,
    instance_id: str | None,
    load_config: LoadConfig | Mapping[str, Any] | None,
    default_inference: Sampling | Mapping[str, Any] | None,
    activate: bool,
    pinned: bool | None,
    force: bool | None,
    timeout: float | None,
) -> Call:
    """POST /admin/models/load. It is sent again only if it surely did not begin."""
    config, ttl = _load_config(load_config)
    body = {
        "modelKey": model,
        "instanceId": instance_id,
        "loadConfig": config,
        "ttlSeconds": ttl,
        "defaultInference": _sampling(default_inference),
        "activate": activate,
        "pinned": pinned,
        "force": force,
    }
    return _admin("load", body, timeout or max(settings.load_timeout, settings.timeout))


def estimate(model: str, settings: ClientSettings, *, load_config: LoadConfig | Mapping[str, Any] | None) -> Call:
    """POST /admin/models/estimate."""
    config, _ = _load_config(load_config)
    return _admin("estimate", {"modelKey": model, "loadConfig": config}, settings.timeout)


def unload(model: str, settings: ClientSettings, *, instance_id: str | None, force: bool) -> Call:
    """POST /admin/models/unload. Requests under way may finish first, so it takes as long as a load may."""
    body = {"modelKey": model, "instanceId": instance_id, "force": force or None}
    return _admin("unload", body, max(settings.load_timeout, settings.timeout))


def activate(
    model: str,
    settings: ClientSettings,
    *,
    instance_id: str | None,
    default_inference: Sampling | Mapping[str, Any] | None,
    merge: bool,
) -> Call:
    """POST /admin/models/activate."""
    sampling = _sampling(default_inference)
    body = {"modelKey": model, "instanceId": instance_id, "defaultInference": sampling, "merge": merge or None}
    return _admin("activate", body, settings.timeout)


def _admin(verb: str, body: Mapping[str, Any], timeout: float) -> Call:
    said = {name: value for name, value in body.items() if value is not None}
    feature = "model management"
    return Call("POST", f"/admin/models/{verb}", said, timeout=timeout, repeat=Repeat.ONCE, feature=feature)


def infer(request: ChatCompletionRequest | Mapping[str, Any], settings: ClientSettings) -> Call:
    """Start a job."""
    body = chat(request, settings).body or {}
    body = {name: value for name, value in body.items() if name != "stream"}
    path = f"{JOB}/infer"
    return Call("POST", path, body, timeout=settings.timeout, repeat=Repeat.ONCE, feature="inference jobs")


def job_events(job_id: str, seen: str | None, settings: ClientSettings) -> Call:
    """The events of a job behind the one seen last."""
    headers = {"last-event-id": seen} if seen else {}
    path = f"{JOB}/stream/{job_id}"
    return Call("GET", path, headers=headers, timeout=settings.stream_idle_timeout, repeat=Repeat.ANY)


def models(wanted: ListModelsFilter, settings: ClientSettings) -> Call:
    """GET /v1/models."""
    return get("/v1/models", settings, {name: str(value) for name, value in wanted.to_dict().items()})


def filtered(page: ModelsList, wanted: ListModelsFilter) -> ModelsList:
    """What the server should have done with the filter; LM Studio sends all models whatever is asked."""
    found = [
        each for each in page.data if wanted.owned_by in (None, each.owned_by) and wanted.status in (None, each.status)
    ]
    ids = [each.id for each in found]
    start = ids.index(wanted.cursor) + 1 if wanted.cursor in ids else 0
    end = start + (wanted.limit or LIST_LIMIT)
    data = tuple(found[start:end])
    more = data[-1].id if data and end < len(found) else None
    cursor = page.next_cursor or more
    return ModelsList(data=data, has_more=cursor is not None, next_cursor=cursor, extra=page.extra)


def with_states(page: ModelsList, states: Mapping[str, str]) -> ModelsList:
    """The list with LM Studio's own words about what is loaded, by model id (its REST API v0)."""
    cards = tuple(_with_state(each, states.get(each.id)) for each in page.data)
    return ModelsList(data=cards, has_more=page.has_more, next_cursor=page.next_cursor, extra=page.extra)


def _with_state(card: ModelCard, state: str | None) -> ModelCard:
    status = {"loaded": "ready", "not-loaded": "unloaded", "loading": "loading"}.get(state or "")
    return replace(card, state=state, status=status)


def _body(request: Shape | Mapping[str, Any], default: str | None) -> dict[str, Any]:
    body: dict[str, Any] = plain(request)
    if not body.get("model"):
        body.pop("model", None)
        return ({"model": default} if default else {}) | body
    return body


def _load_config(config: LoadConfig | Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, float | None]:
    """In the admin API's words, and the idle TTL, which stands beside it there."""
    if not isinstance(config, LoadConfig):
        return (None, None) if config is None else (dict(config), None)
    said = config.said()
    ttl = said.pop("idle_ttl", None)
    gpu = {name.removeprefix("gpu_"): said.pop(name) for name in ("gpu_ratio", "gpu_layers") if name in said}
    return _camelled(said) | ({"gpu": gpu} if gpu else {}), ttl


def _sampling(sampling: Sampling | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not isinstance(sampling, Sampling):
        return None if sampling is None else dict(sampling)
    said = sampling.said()
    stop = said.pop("stop", None)
    return _camelled(said) | ({} if stop is None else {"stopStrings": list(stop)})


def _camelled(said: Mapping[str, Any]) -> dict[str, Any]:
    return {camel(name): value for name, value in said.items()}


def _switched_on(switch: bool, feature: str) -> None:
    if not switch:
        raise UnsupportedFeature(f"{feature} is switched off in this client.", hint=f"enable_{feature}", retry=False)


def _file(given: str | Path | tuple[str, bytes]) -> tuple[str, bytes]:
    if isinstance(given, tuple):
        return given
    path = Path(given)
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"The file cannot be read: {error}.", param="file", retry=False) from None
