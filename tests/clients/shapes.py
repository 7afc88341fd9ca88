"""What programs take for granted in replies: the fields they would fail without, typed as they type them.

Written after their sources. msgspec refuses what lacks a field or has another type, and so do they; what they do not
know they ignore, and so does it.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

# ---- OpenAI's chat: opencode (the AI SDK), VS Code, Cline, Continue, aider


class FunctionPiece(Struct):
    name: str | None = None
    arguments: str | None = None


class CallPiece(Struct):
    index: int
    id: str | None = None
    function: FunctionPiece | None = None


class Delta(Struct):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallPiece] | None = None


class ChoicePiece(Struct):
    index: int
    delta: Delta
    finish_reason: Literal["stop", "length", "tool_calls"] | None = None


class ChatUsage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatChunk(Struct):
    """Zed wants all of these but `id`; the others are content with less."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChoicePiece]
    usage: ChatUsage | None = None


class ListedModel(Struct):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Struct):
    object: Literal["list"]
    data: list[ListedModel]


# ---- LM Studio's v0: Zed, Cline


class V0Model(Struct):
    id: str
    object: str
    type: Literal["llm", "vlm", "embeddings"]
    publisher: str
    compatibility_type: Literal["gguf", "mlx"]
    state: Literal["loaded", "loading", "not-loaded"]
    max_context_length: int
    arch: str | None = None
    quantization: str | None = None
    loaded_context_length: int | None = None
    capabilities: list[str] = []


class V0List(Struct):
    data: list[V0Model]


# ---- Ollama's: Zed, Open WebUI, Home Assistant, n8n, Continue, JetBrains, LlamaIndex


class Details(Struct):
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str


class Tag(Struct):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(Struct):
    models: list[Tag]


class Running(Struct):
    name: str
    model: str
    size: int
    digest: str
    expires_at: str
    size_vram: int


class RunningList(Struct):
    models: list[Running]


class Shown(Struct):
    template: str
    parameters: str
    capabilities: list[str]
    details: Details
    model_info: dict[str, Any]


class Function(Struct):
    name: str
    arguments: dict[str, Any]


class Called(Struct):
    function: Function


class Said(Struct):
    """Zed's parser picks the kind of message by its role, and wants a content in every one."""

    role: Literal["assistant"]
    content: str
    tool_calls: list[Called] | None = None
    thinking: str | None = None


class ChatLine(Struct):
    model: str
    created_at: str
    message: Said
    done: bool
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class GenerateLine(Struct):
    model: str
    created_at: str
    response: str
    done: bool
    done_reason: str | None = None


# ---- Responses: Codex


class CachedTokens(Struct):
    cached_tokens: int


class ReasoningTokens(Struct):
    reasoning_tokens: int


class ResponseUsage(Struct):
    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Completed(Struct):
    id: str
    usage: ResponseUsage


class OutputText(Struct):
    type: Literal["output_text"]
    text: str


class MessageItem(Struct, tag_field="type", tag="message"):
    id: str
    role: Literal["assistant"]
    content: list[OutputText]


class CallItem(Struct, tag_field="type", tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str


Item = MessageItem | CallItem


# ---- Anthropic's: Claude Code


class Card(Struct):
    type: Literal["model"]
    id: str
    display_name: str
    created_at: str


class CardList(Struct):
    data: list[Card]
    has_more: bool
    first_id: str | None
    last_id: str | None


class MessageUsage(Struct):
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0


class MessageStart(Struct):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[None]
    usage: MessageUsage
    stop_reason: None
    stop_sequence: None
