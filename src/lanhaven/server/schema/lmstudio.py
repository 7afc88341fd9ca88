"""LM Studio's REST API, /api/v1, and the probes of its clients. docs/lmstudio-rest.md says what is different."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
    NUMBER,
    TEXT,
    WHOLE,
    Body,
    Family,
    Schema,
    Stream,
    either,
    listing,
    nullable,
    number,
    path_id,
    record,
    ref,
    told,
    whole,
    whole_record,
    word,
)

FAMILY = Family("lmstudio", "LMStudioError")
KIND = word("llm", "embedding")
CONTEXT = whole(1, 1 << 24, "Tokens.")

REQUESTS: Mapping[str, Schema] = MappingProxyType(
    {
        "LMStudioChatRequest": record(
            {
                "model": TEXT,
                "input": either(TEXT, listing(ref("LMStudioInput"), minItems=1, maxItems=256)),
                "system_prompt": TEXT,
                "previous_response_id": told(TEXT, "Go on from this response."),
                "store": told(FLAG, "Remember the conversation; true unless said otherwise."),
                "stream": FLAG,
                "temperature": number(0, 2),
                "top_p": number(0, 1),
                "top_k": whole(-1, 1 << 20),
                "min_p": number(0, 1),
                "repeat_penalty": number(0, 100),
                "max_output_tokens": whole(1, 1 << 30),
                "reasoning": word("off", "on", "low", "medium", "high"),
                "context_length": CONTEXT,
            },
            "model",
            "input",
        ),
        "LMStudioInput": record(
            {
                "type": told(TEXT, "message, or image."),
                "content": TEXT,
                "data_url": told(TEXT, "Of an image, as `data:image/...`."),
            },
            "type",
        ),
        "LMStudioLoadRequest": record(
            {"model": TEXT, "context_length": CONTEXT, "flash_attention": FLAG, "echo_load_config": FLAG}, "model"
        ),
        "LMStudioInstanceId": whole_record({"instance_id": TEXT}),
        "LMStudioDownloadRequest": record({"model": TEXT, "quantization": TEXT}, "model"),
    }
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        **REQUESTS,
        "LMStudioQuantization": record({"name": TEXT, "bits_per_weight": nullable(NUMBER)}, "name"),
        "LMStudioInstance": whole_record({"id": TEXT, "config": ANY}),
        "LMStudioModel": record(
            {
                "type": KIND,
                "publisher": TEXT,
                "key": TEXT,
                "display_name": TEXT,
                "architecture": nullable(TEXT),
                "quantization": nullable(ref("LMStudioQuantization")),
                "size_bytes": WHOLE,
                "params_string": nullable(TEXT),
                "loaded_instances": listing(ref("LMStudioInstance")),
                "max_context_length": WHOLE,
                "format": nullable(word("gguf", "mlx")),
                "capabilities": ANY,
                "description": nullable(TEXT),
            },
            "type",
            "publisher",
            "key",
            "display_name",
            "size_bytes",
            "loaded_instances",
            "max_context_length",
        ),
        "LMStudioModels": whole_record({"models": listing(ref("LMStudioModel"))}),
        "LMStudioIgnored": whole_record({"key": TEXT, "reason": TEXT}),
        "LMStudioLoaded": record(
            {
                "type": KIND,
                "instance_id": TEXT,
                "load_time_seconds": NUMBER,
                "status": word("loaded"),
                "load_config": ANY,
                "ignored": listing(ref("LMStudioIgnored")),
            },
            "type",
            "instance_id",
            "load_time_seconds",
            "status",
        ),
        "LMStudioDownload": record(
            {
                "job_id": TEXT,
                "status": word("downloading", "paused", "completed", "failed", "already_downloaded"),
                "total_size_bytes": nullable(WHOLE),
                "downloaded_bytes": WHOLE,
                "bytes_per_second": WHOLE,
                "started_at": TEXT,
                "completed_at": TEXT,
                "estimated_completion": TEXT,
                "error": TEXT,
            },
            "status",
        ),
        "LMStudioOutput": whole_record({"type": word("message", "reasoning"), "content": TEXT}),
        "LMStudioStats": record(
            {
                "input_tokens": WHOLE,
                "total_output_tokens": WHOLE,
                "reasoning_output_tokens": WHOLE,
                "tokens_per_second": NUMBER,
                "time_to_first_token_seconds": NUMBER,
                "model_load_time_seconds": NUMBER,
            },
            "input_tokens",
            "total_output_tokens",
            "tokens_per_second",
            "time_to_first_token_seconds",
        ),
        "LMStudioChat": record(
            {
                "model_instance_id": nullable(TEXT),
                "output": listing(ref("LMStudioOutput")),
                "stats": ref("LMStudioStats"),
                "response_id": TEXT,
                "ignored": listing(TEXT),
            },
            "model_instance_id",
            "output",
            "stats",
        ),
        "LMStudioEvent": record(
            {
                "type": told(TEXT, "Also the event's name: chat.start ... chat.end."),
                "model_instance_id": nullable(TEXT),
                "progress": number(0, 1),
                "content": TEXT,
                "load_time_seconds": NUMBER,
                "result": ref("LMStudioChat"),
                "error": ref("LMStudioErrorDetail"),
            },
            "type",
        ),
        "LMStudioGreeting": whole_record({"lmstudio": FLAG}),
        "LMStudioStatus": whole_record({"package": TEXT, "version": TEXT}),
        "LMStudioErrorDetail": record(
            {"type": TEXT, "message": TEXT, "code": TEXT, "param": TEXT}, "type", "message", "code"
        ),
        "LMStudioError": whole_record({"error": ref("LMStudioErrorDetail")}),
    }
)

ASK = Body("LMStudioChatRequest", {"model": "smollm2", "input": "Name three seas."})
LOAD = Body("LMStudioLoadRequest", {"model": "smollm2", "context_length": 2048, "echo_load_config": True})
UNLOAD = Body("LMStudioInstanceId", {"instance_id": "smollm2"})
FETCH = Body("LMStudioDownloadRequest", {"model": "smollm2"})
JOB = [path_id("The job_id of a download.")]


def paths() -> dict[str, Any]:
    """Path -> operations."""
    operation = FAMILY.operation
    chat = operation(
        "lmstudio_chat",
        "One turn of a conversation that the server remembers",
        "LMStudioChat",
        ASK,
        stream=Stream("LMStudioEvent"),
    )
    return {
        "/lmstudio-greeting": {"get": operation("lmstudio_greeting", "For clients that look", "LMStudioGreeting")},
        "/lms-status": {"get": operation("lmstudio_status", "For clients that look", "LMStudioStatus")},
        "/api/v1/models": {"get": operation("lmstudio_models", "Models and their instances", "LMStudioModels")},
        "/api/v1/models/load": {"post": operation("lmstudio_load", "Load a model", "LMStudioLoaded", LOAD)},
        "/api/v1/models/unload": {
            "post": operation("lmstudio_unload", "Unload an instance", "LMStudioInstanceId", UNLOAD)
        },
        "/api/v1/models/download": {
            "post": operation("lmstudio_download", "Fetch a packed model", "LMStudioDownload", FETCH)
        },
        "/api/v1/models/download/status/{id}": {
            "get": operation("lmstudio_download_status", "How far a download is", "LMStudioDownload", parameters=JOB)
        },
        "/api/v1/chat": {"post": chat},
    }
