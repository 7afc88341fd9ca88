"""Many prompts in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lanhaven.client._chat_types import ChatChoice, ChatCompletionRequest, Usage
from lanhaven.client._shape import Shape


class BatchChatRequest(ChatCompletionRequest, frozen=True, kw_only=True):
    """Prompts, and what is shared by all. Either `messages` (each of the user is a prompt) or `requests`.

    processing_mode: parallel, sequential, sequential_with_context, conversation.
    """

    requests: Sequence[ChatCompletionRequest | Mapping[str, Any]] | None = None
    processing_mode: str | None = None
    batch_size: int | None = None  # prompts at once, at most
    return_individual: bool | None = None
    include_timing: bool | None = None


class BatchTiming(Shape, frozen=True, kw_only=True):
    """Seconds."""

    total_time: float
    started: float | None = None
    average_per_group: float | None = None


class BatchProblem(Shape, frozen=True, kw_only=True):
    """Why a prompt has no answer."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class BatchItem(Shape, frozen=True, kw_only=True):
    """The answer to prompt number `index`; or its `error`, and the `status` that a call of its own had had."""

    index: int
    custom_id: str | None = None
    id: str | None = None
    choices: tuple[ChatChoice, ...] = ()
    usage: Usage | None = None
    error: BatchProblem | None = None
    status: int | None = None
    timing: BatchTiming | None = None

    @property
    def text(self) -> str:
        """What the first choice says."""
        return self.choices[0].message.text if self.choices else ""


class BatchInfo(Shape, frozen=True, kw_only=True):
    """How many prompts."""

    groups_processed: int = 0
    successful: int = 0
    failed: int = 0


class BatchChat(Shape, frozen=True, kw_only=True):
    """The answers, in the order of the prompts; iterating gives them. With `return_individual=False` all texts are one,
    in `choices`, and what failed is in `errors`."""

    completions: tuple[BatchItem, ...] = ()
    choices: tuple[ChatChoice, ...] = ()
    errors: tuple[BatchItem, ...] = ()
    usage: Usage | None = None
    batch_info: BatchInfo = BatchInfo()
    timing: BatchTiming | None = None
    id: str = ""
    created: int = 0
    model: str | None = None
    processing_mode: str = ""

    def __iter__(self) -> Iterator[BatchItem]:
        return iter(self.completions)

    def __len__(self) -> int:
        return len(self.completions)
