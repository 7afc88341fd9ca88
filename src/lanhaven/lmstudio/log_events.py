"""What LM Studio's server log tells, as events. Nothing of a prompt or an answer is in them."""

from __future__ import annotations

from collections.abc import Mapping

from lanhaven.events import GatewayEvent


class LMStudioLog(GatewayEvent, kw_only=True):
    """A line. host: name of the LM Studio. logged_at: as the line has it, in that machine's time. source: what stands
    in brackets, mostly the model. message: None where the line is of an unknown kind, for it may quote a prompt."""

    name = "lmstudio_log"
    host: str
    logged_at: str
    level: str
    source: str | None
    message: str | None


class LMStudioChatStart(LMStudioLog, kw_only=True):
    """messages: of the conversation."""

    name = "lmstudio_chat_start"
    messages: int


class LMStudioSamplingParams(LMStudioLog, kw_only=True):
    """params: in llama.cpp's words, "top_k" and so on."""

    name = "lmstudio_sampling_params"
    params: Mapping[str, float]


class LMStudioPromptProgress(LMStudioLog, kw_only=True):
    """progress: percent."""

    name = "lmstudio_prompt_progress"
    progress: float


class LMStudioCacheStats(LMStudioLog, kw_only=True):
    """Tokens of a prompt that were computed before. percentage: of the whole prompt."""

    name = "lmstudio_cache_stats"
    reused: int
    total: int
    percentage: float
    prefix: int
    non_prefix: int


class LMStudioTokenInfo(LMStudioLog, kw_only=True):
    """counts: n_ctx, n_batch, n_predict (-1: no limit), n_keep, in llama.cpp's words."""

    name = "lmstudio_token_info"
    counts: Mapping[str, int]
    total_prompt_tokens: int | None
    prompt_tokens_to_decode: int


class LMStudioProcessingStart(LMStudioLog, kw_only=True):
    name = "lmstudio_processing_start"


class LMStudioMonthTransition(GatewayEvent, kw_only=True):
    """The log goes on in the folder of another month ("2026-11")."""

    name = "lmstudio_month_transition"
    host: str
    previous: str
    month: str
