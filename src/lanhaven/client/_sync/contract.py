# Made of _async/contract.py by scripts/unasync: change that file.
"""What code that uses the SDK should depend on, so that its tests can hand in something smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

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
    SpeechRequest,
    Transcription,
    TranscriptionRequest,
)
from lanhaven.client._model_types import Health, ListModelsFilter, ModelsList


@runtime_checkable
class SdkContract(Protocol):
    """Inference, models and health: what LM Studio can do as well as LanHaven (S3-08, S3-x1)."""

    def create_chat_completion(
        self,
        request: ChatCompletionRequest | Mapping[str, Any],
        on_chunk: Callable[[ChatCompletionChunk], None] | None = None,
    ) -> ChatCompletion:
        """The whole answer; `on_chunk` sees its pieces."""
        ...

    def stream_chat_completion(
        self, request: ChatCompletionRequest | Mapping[str, Any]
    ) -> Iterator[ChatCompletionChunk]:
        """The answer as it comes."""
        ...

    def chat_completion(self, params: Mapping[str, Any]) -> ChatCompletion:
        """The same for a plain dictionary."""
        ...

    def create_completion(self, request: CompletionRequest | Mapping[str, Any]) -> Completion:
        """A text continued."""
        ...

    def create_embedding(self, request: EmbeddingRequest | Mapping[str, Any]) -> EmbeddingList:
        """A vector for each input."""
        ...

    def create_transcription(self, request: TranscriptionRequest) -> Transcription:
        """Speech to text."""
        ...

    def create_translation(self, request: TranscriptionRequest) -> Transcription:
        """Speech to English text."""
        ...

    def create_speech(self, request: SpeechRequest | Mapping[str, Any]) -> bytes:
        """Text to speech."""
        ...

    def create_image(self, request: ImageRequest | Mapping[str, Any]) -> ImageList:
        """A picture."""
        ...

    def list_models(self, wanted: ListModelsFilter | None = None) -> ModelsList:
        """The models that can be named."""
        ...

    def health(self) -> bool:
        """Whether the server is there and well."""
        ...

    def health_check(self) -> Health:
        """How it is."""
        ...
