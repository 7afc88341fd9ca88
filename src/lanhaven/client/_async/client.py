"""The client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from lanhaven.client import _admin_calls, _calls
from lanhaven.client._admin_types import ModelsFileChange
from lanhaven.client._async.events import AsyncEventStream
from lanhaven.client._async.exchange import AsyncExchange
from lanhaven.client._async.history import AsyncHistory
from lanhaven.client._async.inference import AsyncChatInference
from lanhaven.client._async.keys import AsyncKeys
from lanhaven.client._async.loading import AsyncLoadWatch
from lanhaven.client._async.stream import AsyncChatStream
from lanhaven.client._batch_types import BatchChat, BatchChatRequest
from lanhaven.client._chat_types import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
)
from lanhaven.client._media_types import (
    EmbeddingList,
    EmbeddingRequest,
    ImageList,
    ImageRequest,
    Response,
    ResponseRequest,
    SpeechRequest,
    Transcription,
    TranscriptionRequest,
)
from lanhaven.client._model_types import (
    ActivatedModel,
    Health,
    ListModelsFilter,
    LoadedInstance,
    LoadedModel,
    LoadEstimate,
    LoadProgress,
    ModelCard,
    ModelsList,
    UnloadedModel,
)
from lanhaven.client._protocol import check_version, get, name_in_path
from lanhaven.client._repeating import AsyncRepeating
from lanhaven.client._settings import settings
from lanhaven.client._streaming import Downgraded
from lanhaven.config.environ import environment
from lanhaven.errors import GatewayError, NotFound, UnsupportedFeature, UpstreamError
from lanhaven.types.models import LoadConfig, Sampling

LOOK = 0.2  # seconds between two looks at a load


class AsyncClient:
    """One server: LanHaven, or LM Studio, or what else speaks OpenAI's API. Use it in a `with` block, or close it.

    What is not given comes from LANHAVEN_* and LM_STUDIO_* variables. Requests may be repeated where that is safe, a
    load never once it may have begun. Errors: GatewayError and its classes, see `lanhaven.client._errors`.
    InvalidRequest here for an argument or a variable that cannot be.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float | None = None,
        load_timeout: float | None = None,
        stream_idle_timeout: float | None = None,
        max_retries: int | None = None,
        stream_retry: float | None = None,
        verify_tls: bool | None = None,
        ca_file: str | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        enable_streaming: bool | None = None,
        enable_audio: bool | None = None,
        enable_images: bool | None = None,
        allowed_hosts: tuple[str, ...] | None = None,
    ) -> None:
        given = {
            "base_url": base_url,
            "api_key": api_key,
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "load_timeout": load_timeout,
            "stream_idle_timeout": stream_idle_timeout,
            "max_retries": max_retries,
            "stream_retry": stream_retry,
            "verify_tls": verify_tls,
            "ca_file": ca_file,
            "default_model": default_model,
            "default_embedding_model": default_embedding_model,
            "extra_headers": extra_headers,
            "enable_streaming": enable_streaming,
            "enable_audio": enable_audio,
            "enable_images": enable_images,
            "allowed_hosts": allowed_hosts,
        }
        self.settings = settings(given, environment())
        self._exchange = AsyncExchange(self.settings)
        self.inference = AsyncChatInference(self._exchange)
        self.keys = AsyncKeys(self._exchange)
        self.history = AsyncHistory(self._exchange)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.base_url}{' with key' if self.settings.api_key else ''})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; what still streams ends. Idempotent."""
        await self._exchange.aclose()

    # Chat

    async def create_chat_completion(
        self,
        request: ChatCompletionRequest | Mapping[str, Any],
        on_chunk: Callable[[ChatCompletionChunk], None] | None = None,
    ) -> ChatCompletion:
        """The whole answer. With `on_chunk`, or `stream=True` in the request, it is streamed and put together here:
        then no total timeout applies, and `on_chunk` is called with every piece."""
        asked = request.get("stream") if isinstance(request, Mapping) else request.stream
        if on_chunk is None and not asked:
            return ChatCompletion.read(await self._exchange.json(_calls.chat(request, self.settings)))
        async with self.stream_chat_completion(request) as stream:
            async for chunk in stream:
                if on_chunk is not None:
                    on_chunk(chunk)
            return await stream.completion()

    def stream_chat_completion(
        self,
        request: ChatCompletionRequest | Mapping[str, Any],
        *,
        fallback: bool = False,
        on_downgraded: Downgraded | None = None,
    ) -> AsyncChatStream:
        """The answer as it comes. fallback: a stream that fails before its first piece is tried once more, and then
        asked for in one piece; `on_downgraded` is told why."""
        check_version(self._exchange.lmstudio_version, "streaming")
        state = _calls.streamed_chat(request, self.settings, fallback=fallback, on_downgraded=on_downgraded)
        return AsyncChatStream(self._exchange, state)

    async def chat_completion(self, params: Mapping[str, Any]) -> ChatCompletion:
        """`create_chat_completion` for a plain dictionary."""
        return await self.create_chat_completion(params)

    async def batch_chat_completions(
        self, request: BatchChatRequest | Mapping[str, Any], *, timeout: float | None = None
    ) -> BatchChat:
        """Many prompts in one call; those that fail have an error, and the others go on. UnsupportedFeature where the
        server has none of it."""
        return BatchChat.read(await self._exchange.json(_calls.batch_chat(request, self.settings, timeout)))

    # Other inference

    async def create_completion(self, request: CompletionRequest | Mapping[str, Any]) -> Completion:
        """A text continued."""
        return Completion.read(await self._exchange.json(_calls.completion(request, self.settings)))

    async def create_embedding(self, request: EmbeddingRequest | Mapping[str, Any]) -> EmbeddingList:
        """A vector for each input."""
        return EmbeddingList.read(await self._exchange.json(_calls.embedding(request, self.settings)))

    async def create_response(self, request: ResponseRequest | Mapping[str, Any]) -> Response:
        """OpenAI's Responses API. UnsupportedFeature where the server has none."""
        return Response.read(await self._exchange.json(_calls.response(request, self.settings)))

    async def create_transcription(self, request: TranscriptionRequest) -> Transcription:
        """Speech to text. UnsupportedFeature where the server has none."""
        check_version(self._exchange.lmstudio_version, "audio")
        call = _calls.transcription(request, self.settings, "transcriptions")
        return Transcription.read(await self._exchange.json(call))

    async def create_translation(self, request: TranscriptionRequest) -> Transcription:
        """Speech to English text. UnsupportedFeature where the server has none."""
        check_version(self._exchange.lmstudio_version, "audio")
        call = _calls.transcription(request, self.settings, "translations")
        return Transcription.read(await self._exchange.json(call))

    async def create_speech(self, request: SpeechRequest | Mapping[str, Any]) -> bytes:
        """Text to speech: the bytes of a sound file. UnsupportedFeature where the server has none."""
        check_version(self._exchange.lmstudio_version, "audio")
        body, _ = await self._exchange.whole(_calls.speech(request, self.settings))
        return body

    async def create_image(self, request: ImageRequest | Mapping[str, Any]) -> ImageList:
        """A picture. UnsupportedFeature where the server has none."""
        check_version(self._exchange.lmstudio_version, "images")
        return ImageList.read(await self._exchange.json(_calls.image(request, self.settings)))

    # Models

    async def list_models(self, wanted: ListModelsFilter | None = None) -> ModelsList:
        """The models that can be named in a request. LM Studio does not filter: then it is done here."""
        wanted = wanted or ListModelsFilter()
        page = ModelsList.read(await self._exchange.json(_calls.models(wanted, self.settings)))
        if wanted.status is not None and any(card.status is None for card in page):
            page = _calls.with_states(page, await self._states())
        return _calls.filtered(page, wanted)

    async def get_model(self, name: str) -> ModelCard:
        """One of them, by key, alias or instance. ModelNotFound."""
        return ModelCard.read(await self._exchange.json(get(f"/v1/models/{name_in_path(name)}", self.settings)))

    async def list_loaded(self) -> tuple[LoadedInstance, ...]:
        """What is in memory. UnsupportedFeature where the server is not LanHaven."""
        reply = await self._exchange.json(get("/admin/models", self.settings, feature="model management"))
        loaded = reply.get("loaded") if isinstance(reply, dict) else None
        if not isinstance(loaded, list):
            raise UpstreamError("The server's list of models has no `loaded`.")
        return tuple(LoadedInstance.read(each) for each in loaded)

    async def load_model(
        self,
        model: str,
        *,
        instance_id: str | None = None,
        load_config: LoadConfig | Mapping[str, Any] | None = None,
        default_inference: Sampling | Mapping[str, Any] | None = None,
        activate: bool = True,
        pinned: bool | None = None,
        force: bool | None = None,
        timeout: float | None = None,
        on_progress: Callable[[LoadProgress], None] | None = None,
    ) -> LoadedModel:
        """Load a model and wait until it is ready; leaving ends the load. Mappings are in the admin API's words.

        `on_progress` is called when there is news (from a thread of its own, where the client is not async), at last
        with stage "ready". LoadFailed, InsufficientMemory, InstanceConflict, ModelNotFound.
        """
        call = _calls.load(
            model, self.settings, instance_id=instance_id, load_config=load_config,
            default_inference=default_inference, activate=activate, pinned=pinned, force=force, timeout=timeout,
        )  # fmt: skip
        if on_progress is None:
            return LoadedModel.read(await self._exchange.json(call))
        watch = AsyncLoadWatch(self.list_loaded, model, instance_id, on_progress)
        async with AsyncRepeating(watch.look, LOOK):
            loaded = LoadedModel.read(await self._exchange.json(call))
        watch.ready(loaded)
        return loaded

    async def estimate_load(
        self, model: str, *, load_config: LoadConfig | Mapping[str, Any] | None = None
    ) -> LoadEstimate:
        """What a load would take, and whether it would fit; nothing is loaded. ModelNotFound."""
        call = _calls.estimate(model, self.settings, load_config=load_config)
        return LoadEstimate.read(await self._exchange.json(call))

    async def unload_model(self, model: str, *, instance_id: str | None = None, force: bool = False) -> UnloadedModel:
        """Unload one instance, or all of a model. force: end the requests under way. ModelNotFound."""
        call = _calls.unload(model, self.settings, instance_id=instance_id, force=force)
        return UnloadedModel.read(await self._exchange.json(call))

    async def activate_model(
        self,
        model: str,
        *,
        instance_id: str | None = None,
        default_inference: Sampling | Mapping[str, Any] | None = None,
        merge: bool = False,
    ) -> ActivatedModel:
        """Let a loaded model answer the requests that name none. default_inference replaces its defaults, or with
        `merge` changes single ones. ModelNotFound if it is not loaded."""
        call = _calls.activate(
            model, self.settings, instance_id=instance_id, default_inference=default_inference, merge=merge
        )
        return ActivatedModel.read(await self._exchange.json(call))

    async def add_model(
        self,
        model: str,
        base_url: str,
        *,
        api_key: str | None = None,
        name_there: str | None = None,
        kind: str | None = None,
        context_length: int | None = None,
        description: str | None = None,
    ) -> ModelsFileChange:
        """List a model of another server that speaks OpenAI's API in models.yaml. kind: llm, vlm, embedding, reranker.
        InstanceConflict if there is a model of this name."""
        body = {
            "modelKey": model,
            "baseUrl": base_url,
            "apiKey": api_key,
            "model": name_there,
            "kind": kind,
            "contextLength": context_length,
            "description": description,
        }
        call = _admin_calls.add_model(body, self.settings)
        return ModelsFileChange.read(await self._exchange.json(call))

    async def edit_model(
        self, model: str, changes: Mapping[str, Any] | None = None, *, default: bool | None = None
    ) -> ModelsFileChange:
        """Change an entry of models.yaml: `changes` in the admin API's words, None removes a field, what is not named
        stays. default: whether it answers requests that name no model. ModelNotFound."""
        call = _admin_calls.edit_model(model, changes or {}, default, self.settings)
        return ModelsFileChange.read(await self._exchange.json(call))

    async def remove_model(self, model: str) -> ModelsFileChange:
        """Remove an entry from models.yaml; its files stay. ModelNotFound."""
        return ModelsFileChange.read(await self._exchange.json(_admin_calls.remove_model(model, self.settings)))

    # The server

    async def health(self) -> bool:
        """Whether the server is there and well. Never an error: `health_check` tells what is wrong."""
        try:
            return (await self.health_check()).status == "ok"
        except GatewayError:
            return False

    async def health_check(self) -> Health:
        """How it is. LM Studio has no such page and answers with an error (C5): then its list of models is the sign
        of life. UnsupportedVersion where it says a version older than 0.2.18."""
        call = get("/health", self.settings, feature="health")
        try:
            found = Health.read(await self._exchange.json(call))
        except (UnsupportedFeature, NotFound, UpstreamError):
            found = await self._signs_of_life()
        check_version(found.lmstudio_version)
        return found

    def events(self, *, reconnect: bool = True) -> AsyncEventStream:
        """What happens on the server from now on."""
        return AsyncEventStream(self._exchange, reconnect=reconnect)

    async def _signs_of_life(self) -> Health:
        page = await self.list_models()
        version = self._exchange.lmstudio_version or page.extra.get("lmstudio_version")
        try:
            states = await self._states()
        except GatewayError:
            loaded = None
        else:
            loaded = sum(state == "loaded" for state in states.values())
        return Health(
            status="ok",
            lmstudio_version=version if isinstance(version, str) else None,
            api_version="v1",
            models_loaded=loaded,
        )

    async def _states(self) -> dict[str, str]:
        """Model id -> loaded or not-loaded, from LM Studio's REST API v0. UnsupportedFeature where there is none."""
        reply = await self._exchange.json(get("/api/v0/models", self.settings, feature="states of models"))
        found = ModelsList.read(reply)
        return {each.id: each.state for each in found if each.state is not None}
