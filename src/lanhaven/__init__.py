"""LanHaven: the language models of a LAN behind one well-behaved server; here are the names of its typed client.

    from lanhaven import ChatCompletionRequest, ChatMessage, ChatRole, Client

They are loaded when first used: the command line and the server import this package too, and owe the client nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanhaven.client import (
        ActivatedModel,
        AsyncChatInference,
        AsyncChatStream,
        AsyncClient,
        AsyncEventStream,
        AsyncInferenceJob,
        AsyncSdkContract,
        ChatChoice,
        ChatCompletion,
        ChatCompletionChunk,
        ChatCompletionRequest,
        ChatDelta,
        ChatInference,
        ChatMessage,
        ChatRole,
        ChatStream,
        ChunkChoice,
        Client,
        ClientSettings,
        Completion,
        CompletionRequest,
        ConnectionFailed,
        DebugEvent,
        Embedding,
        EmbeddingList,
        EmbeddingRequest,
        EventStream,
        FeatureUnavailable,
        FunctionCall,
        FunctionTool,
        Health,
        IgnoredSetting,
        Image,
        ImageList,
        ImageRequest,
        InferenceEvent,
        InferenceJob,
        LanHavenError,
        ListModelsFilter,
        LoadConfig,
        LoadedInstance,
        LoadedModel,
        LoadEstimate,
        LoadProgress,
        ModelCard,
        ModelsList,
        Response,
        ResponseFormat,
        ResponseRequest,
        Sampling,
        SdkContract,
        SpeechRequest,
        StreamingFailed,
        TextChoice,
        ToolCall,
        Transcription,
        TranscriptionRequest,
        UnloadedModel,
        UnsupportedVersion,
        Usage,
        ValidationFailed,
    )

__all__ = [
    "ActivatedModel",
    "AsyncChatInference",
    "AsyncChatStream",
    "AsyncClient",
    "AsyncEventStream",
    "AsyncInferenceJob",
    "AsyncSdkContract",
    "ChatChoice",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatCompletionRequest",
    "ChatDelta",
    "ChatInference",
    "ChatMessage",
    "ChatRole",
    "ChatStream",
    "ChunkChoice",
    "Client",
    "ClientSettings",
    "Completion",
    "CompletionRequest",
    "ConnectionFailed",
    "DebugEvent",
    "Embedding",
    "EmbeddingList",
    "EmbeddingRequest",
    "EventStream",
    "FeatureUnavailable",
    "FunctionCall",
    "FunctionTool",
    "Health",
    "IgnoredSetting",
    "Image",
    "ImageList",
    "ImageRequest",
    "InferenceEvent",
    "InferenceJob",
    "LanHavenError",
    "ListModelsFilter",
    "LoadConfig",
    "LoadEstimate",
    "LoadProgress",
    "LoadedInstance",
    "LoadedModel",
    "ModelCard",
    "ModelsList",
    "Response",
    "ResponseFormat",
    "ResponseRequest",
    "Sampling",
    "SdkContract",
    "SpeechRequest",
    "StreamingFailed",
    "TextChoice",
    "ToolCall",
    "Transcription",
    "TranscriptionRequest",
    "UnloadedModel",
    "UnsupportedVersion",
    "Usage",
    "ValidationFailed",
    "__version__",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """PEP 562."""
    if name in __all__:
        return vars(import_module("lanhaven.client"))[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
