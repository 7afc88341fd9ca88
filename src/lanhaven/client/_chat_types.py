"""Chats and text completions: what is sent, what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from lanhaven.client._shape import Shape


class ChatRole(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FunctionCall(Shape, frozen=True, kw_only=True):
    """Which function the model calls; `arguments` is JSON text, as the model wrote it."""

    name: str = ""
    arguments: str = ""


class ToolCall(Shape, frozen=True, kw_only=True):
    """A call that the model asks for. Answer it with ChatMessage(ChatRole.TOOL, result, tool_call_id=id)."""

    id: str = ""
    type: str = "function"
    function: FunctionCall = FunctionCall()
    index: int | None = None  # in the pieces of a stream only


class ChatMessage(Shape, frozen=True):
    """One turn. `content`: a text, or OpenAI's list of parts (texts, images as data: URIs); None beside tool calls."""

    role: str = ChatRole.USER
    content: str | Sequence[Mapping[str, Any]] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content or ())


class FunctionTool(Shape, frozen=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """In OpenAI's envelope."""
        return {"type": "function", "function": super().to_dict()}


class ResponseFormat(Shape, frozen=True, kw_only=True):
    """What the answer must be: JSON of any shape, or of one."""

    type: str
    json_schema: Mapping[str, Any] | None = None

    @classmethod
    def json_object(cls) -> ResponseFormat:
        """Any JSON object."""
        return cls(type="json_object")

    @classmethod
    def schema(cls, schema: Mapping[str, Any], name: str = "answer", *, strict: bool = True) -> ResponseFormat:
        """JSON after this schema."""
        return cls(type="json_schema", json_schema={"name": name, "schema": schema, "strict": strict})


class Sampled(Shape, frozen=True, kw_only=True):
    """What chats and text completions take alike. None = not said: the instance's and the model's defaults decide."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    n: int | None = None
    logit_bias: Mapping[str, float] | None = None
    user: str | None = None
    ttl: int | None = None  # seconds idle after which LM Studio unloads a model that this request loaded


class ChatCompletionRequest(Sampled, frozen=True):
    """A chat. model None: the client's default_model, else the server's active one."""

    model: str | None = None
    messages: Sequence[ChatMessage | Mapping[str, Any]] = ()
    stream: bool = False
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: Sequence[FunctionTool | Mapping[str, Any]] | None = None
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | Mapping[str, Any] | None = None


class CompletionRequest(Sampled, frozen=True):
    """A text to be continued."""

    model: str | None = None
    prompt: str | Sequence[str] | Sequence[int] = ""
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None


class Usage(Shape, frozen=True, kw_only=True):
    """Tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatChoice(Shape, frozen=True, kw_only=True):
    """One answer. finish_reason: stop, length, tool_calls, content_filter."""

    message: ChatMessage
    index: int = 0
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None


class ChatCompletion(Shape, frozen=True, kw_only=True):
    """A whole answer. `created`: seconds since the epoch."""

    choices: tuple[ChatChoice, ...]
    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    usage: Usage | None = None
    system_fingerprint: str | None = None

    @property
    def text(self) -> str:
        """What the first choice says."""
        return self.choices[0].message.text if self.choices else ""


class ChatDelta(Shape, frozen=True, kw_only=True):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None


class ChunkChoice(Shape, frozen=True, kw_only=True):
    """A piece of answer number `index`."""

    delta: ChatDelta = ChatDelta()
    index: int = 0
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None


class ChatCompletionChunk(Shape, frozen=True, kw_only=True):
    """A piece of a streamed answer. `usage` comes in the last one, which has no choices."""

    choices: tuple[ChunkChoice, ...]
    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    usage: Usage | None = None
    system_fingerprint: str | None = None

    @property
    def text(self) -> str:
        """What it adds to the first choice; often empty."""
        return next((each.delta.content or "" for each in self.choices if each.index == 0), "")


class TextChoice(Shape, frozen=True, kw_only=True):
    """One continuation."""

    text: str
    index: int = 0
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None


class Completion(Shape, frozen=True, kw_only=True):
    """A text continued; also a piece of one in a stream."""

    choices: tuple[TextChoice, ...]
    id: str = ""
    object: str = "text_completion"
    created: int = 0
    model: str = ""
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The first choice's."""
        return self.choices[0].text if self.choices else ""
