"""Requests in OpenAI's words. Bounds are those of dialects/openai/fields.py (a test compares them). Fields that are not
named here pass as well."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.dialects.openai.fields import LONGEST_SIDE, MAX_INPUTS
from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
    NULL,
    TEXT,
    WHOLE,
    Schema,
    either,
    form,
    listing,
    number,
    record,
    ref,
    told,
    whole,
    word,
)

TOKENS = listing(WHOLE)
TOKEN: Schema = {"type": "integer", "minimum": 0}
SOME_TEXT: Schema = {"type": "string", "minLength": 1}
MODEL = told(TEXT, "Model key, alias or instance; left out, `default` or `auto`: the active model, else the default.")

SAMPLING: Mapping[str, Schema] = MappingProxyType(
    {
        "max_tokens": whole(-1, 1 << 30, "-1: no limit."),
        "temperature": number(0, 2),
        "top_p": number(0, 1),
        "top_k": whole(-1, 1 << 20),
        "min_p": number(0, 1),
        "repeat_penalty": number(0, 100),
        "repetition_penalty": number(0.1, 2, "As repeat_penalty, in the words of vLLM and MLX."),
        "presence_penalty": number(-2, 2),
        "frequency_penalty": number(-2, 2),
        "seed": whole(-(1 << 63), (1 << 63) - 1),
        "stop": either(TEXT, listing(TEXT, maxItems=16)),
        "n": whole(1, 8),
        "logit_bias": ANY,
        "stream": told(FLAG, "Answer as Server-Sent Events that end with `data: [DONE]`."),
        "stream_options": ref("StreamOptions"),
        "ttl": number(1, 1 << 31, "Seconds unused until the model unloads, if this request has to load it."),
    }
)

_NESTED = ("logit_bias", "stream_options")  # JSON as well, but too much for the form of a document
SIZING: Mapping[str, Schema] = MappingProxyType(
    {
        "resize_max": whole(1, LONGEST_SIDE, "Longest side of each image, in pixels."),
        "resize_width": whole(1, LONGEST_SIDE, "Largest width; an image keeps its proportions."),
        "resize_height": whole(1, LONGEST_SIDE, "Largest height."),
        "image_quality": whole(1, 100, "Each image becomes a JPEG of this quality."),
        "preserve_alpha": told(FLAG, "Transparency stays; else it becomes white."),
    }
)

BODIES: Mapping[str, Schema] = MappingProxyType(
    {
        "StreamOptions": record({"include_usage": FLAG}),
        "ImageUrl": record({"url": told(TEXT, "A `data:` URI; an address only where `image_hosts` allows it.")}, "url"),
        "ContentPart": record({"type": TEXT, "text": TEXT, "image_url": ref("ImageUrl")}, "type"),
        "FunctionCall": record({"name": TEXT, "arguments": told(TEXT, "A JSON object as text.")}),
        "ToolCall": record({"id": TEXT, "type": TEXT, "function": ref("FunctionCall"), "index": WHOLE}),
        "FunctionTool": record({"name": TEXT, "description": TEXT, "parameters": told(ANY, "A JSON schema.")}, "name"),
        "Tool": record({"type": TEXT, "function": ref("FunctionTool")}, "type"),
        "ChatMessage": record(
            {
                "role": TEXT,
                "content": either(TEXT, listing(ref("ContentPart")), NULL),
                "name": TEXT,
                "tool_calls": listing(ref("ToolCall")),
                "tool_call_id": TEXT,
            },
            "role",
        ),
        "ChatRequest": record(
            {
                "model": MODEL,
                "messages": listing(ref("ChatMessage"), minItems=1, maxItems=4096),
                **SAMPLING,
                "max_completion_tokens": whole(-1, 1 << 30, "-1: no limit."),
                "response_format": told(ANY, "`text`, `json_object` or `json_schema`."),
                "tools": listing(ref("Tool"), maxItems=256),
                "tool_choice": either(TEXT, ANY),
                "logprobs": FLAG,
                "top_logprobs": whole(0, 20),
                **SIZING,
            },
            "messages",
        ),
        "ImageForm": form(
            {
                "model": MODEL,
                "messages": told(TEXT, "JSON; the address of an image is `__RAW_IMAGE__`, in the order of `images`."),
                "images": listing({"type": "string", "format": "binary"}),
                **{name: schema for name, schema in SAMPLING.items() if name not in _NESTED},
                **SIZING,
            },
            "messages",
        ),
        "CompletionRequest": record(
            {
                "model": MODEL,
                "prompt": either(TEXT, listing(TEXT), TOKENS, listing(TOKENS)),
                **SAMPLING,
                "logprobs": whole(0, 20),
            },
            "prompt",
        ),
        "EmbeddingRequest": record(
            {
                "model": MODEL,
                "input": either(
                    SOME_TEXT,
                    listing(SOME_TEXT, minItems=1, maxItems=MAX_INPUTS),
                    listing(TOKEN, minItems=1),
                    listing(listing(TOKEN, minItems=1), minItems=1, maxItems=MAX_INPUTS),
                ),
                "encoding_format": word("float", "base64"),
                "dimensions": whole(1, 1 << 20, "Cut to so many numbers, and normalised."),
            },
            "input",
        ),
        "RerankRequest": record(
            {
                "model": MODEL,
                "query": SOME_TEXT,
                "documents": listing(either(TEXT, record({"text": TEXT}, "text")), minItems=1, maxItems=MAX_INPUTS),
                "top_n": whole(1, 1 << 20, "Only so many, the best."),
                "return_documents": told(FLAG, "Repeat each text in the reply."),
            },
            "query",
            "documents",
        ),
    }
)
