"""Embeddings, responses, audio and images: what is sent, what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lanhaven.client._chat_types import Usage
from lanhaven.client._shape import Shape


class EmbeddingRequest(Shape, frozen=True):
    """Texts to be embedded. model None: the client's default_embedding_model."""

    model: str | None = None
    input: str | Sequence[str] | Sequence[int] = ""
    dimensions: int | None = None
    encoding_format: str | None = None  # "float" or "base64"


class Embedding(Shape, frozen=True, kw_only=True):
    """One vector: numbers, or base64 of little-endian float32."""

    embedding: Sequence[float] | str
    index: int = 0


class EmbeddingList(Shape, frozen=True, kw_only=True):
    """A vector for each input, in their order."""

    data: tuple[Embedding, ...]
    model: str = ""
    usage: Usage | None = None


class ResponseRequest(Shape, frozen=True):
    """What OpenAI's Responses API takes; fields without a name here go into `extra`."""

    model: str | None = None
    input: str | Sequence[Mapping[str, Any]] = ""
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    store: bool | None = None


class Response(Shape, frozen=True, kw_only=True):
    """An answer of the Responses API. `output` holds its items as they came."""

    id: str
    output: tuple[Mapping[str, Any], ...] = ()
    status: str = ""
    model: str = ""
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """All text of its messages."""
        messages = (item for item in self.output if item.get("type") == "message")
        parts = (part for item in messages for part in item.get("content") or ())
        return "".join(part.get("text", "") for part in parts if part.get("type") == "output_text")


class TranscriptionRequest(Shape, frozen=True, kw_only=True):
    """Speech to text. `file`: a path, or (name, bytes)."""

    file: str | Path | tuple[str, bytes]
    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    response_format: str | None = None
    temperature: float | None = None


class Transcription(Shape, frozen=True, kw_only=True):
    """The text of a recording."""

    text: str


class SpeechRequest(Shape, frozen=True):
    """Text to speech."""

    model: str | None = None
    input: str = ""
    voice: str = ""
    response_format: str | None = None
    speed: float | None = None


class ImageRequest(Shape, frozen=True):
    """A picture after a description."""

    model: str | None = None
    prompt: str = ""
    n: int | None = None
    size: str | None = None
    response_format: str | None = None


class Image(Shape, frozen=True, kw_only=True):
    """A picture: base64, or where it lies."""

    b64_json: str | None = None
    url: str | None = None


class ImageList(Shape, frozen=True, kw_only=True):
    """Pictures."""

    data: tuple[Image, ...]
    created: int = 0
