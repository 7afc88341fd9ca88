"""Strict readers of LM Studio's REST: the lists as editors parse them, and the events of a chat in their order."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

ORDER = re.compile(
    r"chat\.start "
    r"(model_load\.start (model_load\.progress )*model_load\.end )?"
    r"prompt_processing\.start (prompt_processing\.progress )*prompt_processing\.end "
    r"(reasoning\.start (reasoning\.delta )+reasoning\.end )?"
    r"(message\.start (message\.delta )+message\.end )?"
    r"(error )?chat\.end "
)


class Strict(BaseModel):
    """As strict as an editor's parser: types as they are, words it knows."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class V0Model(Strict):
    """An entry of /api/v0/models, with every field that an editor (Zed) reads."""

    id: str
    object: Literal["model"]
    type: Literal["llm", "vlm", "embeddings"]
    publisher: str
    arch: str
    compatibility_type: Literal["gguf", "mlx"]
    quantization: str
    state: Literal["loaded", "not-loaded"]
    max_context_length: int
    loaded_context_length: int | None = None
    capabilities: list[Literal["tool_use", "vision"]]


class V0List(Strict):
    object: Literal["list"]
    data: list[V0Model]


class V0Stats(Strict):
    tokens_per_second: float
    time_to_first_token: float | None = None
    generation_time: float
    stop_reason: Literal[
        "eosFound", "stopStringFound", "toolCalls", "maxPredictedTokensReached", "contextLengthReached", "failed"
    ]


class V0ModelInfo(Strict):
    arch: str
    quant: str
    format: Literal["gguf", "mlx"]
    context_length: int


class V0Runtime(Strict):
    name: str
    version: str
    supported_formats: list[str]


class V0Figures(Strict):
    """What /api/v0 adds to OpenAI's replies."""

    stats: V0Stats
    model_info: V0ModelInfo
    runtime: V0Runtime


class V1Config(Strict):
    context_length: int
    parallel: int | None = None
    flash_attention: bool | None = None


class V1Instance(Strict):
    id: str
    config: V1Config


class V1Quantization(Strict):
    name: str
    bits_per_weight: int | None


class V1Capabilities(Strict):
    vision: bool
    trained_for_tool_use: bool


class V1Model(Strict):
    """An entry of /api/v1/models."""

    type: Literal["llm", "embedding"]
    publisher: str
    key: str
    display_name: str
    architecture: str | None = None
    quantization: V1Quantization | None
    size_bytes: int
    params_string: str | None
    loaded_instances: list[V1Instance]
    max_context_length: int
    format: Literal["gguf", "mlx"] | None
    capabilities: V1Capabilities | None = None
    description: str | None


class V1Stats(Strict):
    input_tokens: int
    total_output_tokens: int
    reasoning_output_tokens: int
    tokens_per_second: float
    time_to_first_token_seconds: float
    model_load_time_seconds: float | None = None


class V1Output(Strict):
    type: Literal["message", "reasoning"]
    content: str


class V1Result(Strict):
    """The whole answer of /api/v1/chat."""

    model_instance_id: str | None
    output: list[V1Output]
    stats: V1Stats
    response_id: str | None = None
    ignored: list[str] = []

    @property
    def text(self) -> str:
        return "".join(each.content for each in self.output if each.type == "message")


def events(text: str) -> list[dict[str, Any]]:
    """The events of a streamed chat; name and type must agree, and the order must be LM Studio's."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        name, data = lines
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def names(found: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in found]


def in_order(found: list[dict[str, Any]]) -> bool:
    """Whether the events of a chat that got an answer come as the manual says."""
    return ORDER.fullmatch("".join(f"{name} " for name in names(found))) is not None


def result_of(found: list[dict[str, Any]]) -> V1Result:
    """The whole answer, which the last event brings."""
    assert found[-1]["type"] == "chat.end"
    return V1Result.model_validate(found[-1]["result"])
