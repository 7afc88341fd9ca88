"""Errors of upstreams in our words: classes, numbers, hints, and what is never repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lanhaven.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    PayloadTooLarge,
    ProviderUnavailable,
    QueueFull,
    UnsupportedFeature,
    UpstreamError,
    UpstreamTimeout,
)
from lanhaven.upstream.foreign import from_frame, from_reply

LLAMA_OVERFLOW = (
    '{"error":{"code":400,"message":"request (931 tokens) exceeds the available context size (512 tokens), '
    'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":931,"n_ctx":512}}'
)
VLLM_OVERFLOW = "This model's maximum context length is 512 tokens. However, you requested 931 tokens in the messages."
BATCH = "input (931 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
LM_STUDIO = (
    "Trying to keep the first 931 tokens when context the overflows. However, the model is loaded with context length "
    "of only 512 tokens, which is not enough."
)


def said(status: int, body: object = b"", **headers: str) -> GatewayError:
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return from_reply(status, named, data, "m")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, LLAMA_OVERFLOW),
        (400, {"object": "error", "message": VLLM_OVERFLOW, "type": "BadRequestError", "code": 400}),
        (400, {"error": {"message": VLLM_OVERFLOW, "code": "context_length_exceeded"}}),
        (500, {"error": {"code": 500, "message": BATCH, "type": "server_error"}}),
        (400, {"error": LM_STUDIO}),
    ],
)
def test_overflow_has_both_numbers(status: int, body: object) -> None:
    error = said(status, body)
    assert isinstance(error, ContextLengthExceeded)
    assert error.facts == {"n_prompt_tokens": 931, "n_ctx": 512}
    assert error.retry is False
    assert error.hint is not None
    assert "more context" in error.hint


@pytest.mark.parametrize("number", ["²", "9" * 5000, -1, [], None])
def test_overflow_with_numbers_that_are_none(number: object) -> None:
    error = said(400, {"error": {"type": "exceed_context_size_error", "n_ctx": number, "n_prompt_tokens": 7}})
    assert isinstance(error, ContextLengthExceeded)
    assert error.facts == {"n_prompt_tokens": 7}


def test_overflow_without_numbers() -> None:
    error = said(400, {"error": "the input length exceeds the context length"})
    assert isinstance(error, ContextLengthExceeded)
    assert error.facts == {}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "bad", "param": "n"}}, InvalidRequest),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}, InvalidRequest),
        (418, "", InvalidRequest),
        (401, {"error": {"message": "Incorrect API key provided: sk-abc"}}, UpstreamError),
        (403, "", UpstreamError),
        (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, ProviderUnavailable),
        (404, {"error": 'model "x" not found, try pulling it first'}, ProviderUnavailable),
        (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}, UnsupportedFeature),
        (404, {"detail": "Not Found"}, UnsupportedFeature),
        (405, "", UnsupportedFeature),
        (408, "", UpstreamTimeout),
        (409, "", ProviderUnavailable),
        (413, "", PayloadTooLarge),
        (429, "", QueueFull),
        (500, "", UpstreamError),
        (500, {"error": {"code": 500, "message": "image input is not supported - hint: x"}}, InvalidRequest),
        (500, {"error": {"code": 500, "message": "Failed to parse messages: type must be string"}}, InvalidRequest),
        (500, {"error": {"code": 500, "message": "Unknown reasoning format: x"}}, InvalidRequest),
        (
            500,
            {"error": {"message": "the current context does not support logits computation. skipping"}},
            InvalidRequest,
        ),
        (501, {"error": {"code": 501, "message": "This server does not support embeddings."}}, UnsupportedFeature),
        (502, "", UpstreamError),
        (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, ProviderUnavailable),
        (504, "", UpstreamTimeout),
    ],
)
@pytest.mark.req("F-042")
def test_statuses(status: int, body: object, kind: type[GatewayError]) -> None:
    error = said(status, body)
    assert type(error) is kind
    assert error.message.endswith((".", ")")) or isinstance(body, dict)


def test_messages_and_fields_are_kept() -> None:
    error = said(400, {"error": {"message": "Field 'n': Value must be between 1 <= value <= 1", "param": "n"}})
    assert (error.message, error.param) == ("Field 'n': Value must be between 1 <= value <= 1", "n")
    assert said(422, {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}).message == "n: too big"
    assert "CUDA" in said(500, {"error": {"message": "CUDA error: out of memory"}}).message
    assert said(400, "plain words").message == "plain words"


@pytest.mark.req("F-042")
def test_retry_after() -> None:
    assert said(429, "", retry_after="17").retry_after == 17
    assert said(503, "", retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after == 1
    assert said(429, "", retry_after="9" * 400).retry_after == 1
    assert said(429, {"error": {"message": "x", "code": "insufficient_quota"}}).retry is False


def test_a_lost_model_says_so() -> None:
    error = said(404, {"error": {"message": "model not found"}})
    assert error.facts["gone"] is True
    assert "'m'" in error.message


@pytest.mark.req("F-042")
@pytest.mark.parametrize(
    "page", ["<html><body>nginx</body></html>", "<!DOCTYPE html><p>x", {"error": "<html>nginx</html>"}]
)
def test_pages_are_never_repeated(page: object) -> None:
    assert "html" not in said(502, page).message.lower()
    assert "nginx" not in said(400, page).message


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("invalid key sk-abcdefgh12345678", "abcdefgh"),
        ("Bearer abc.def", "abc.def"),
        ("failed to load /home/anna/models/smol.gguf", "/home/anna"),
        ("connect to http://192.168.1.7:8080/v1 failed", "192.168"),
        ("localhost:1234 refused", "localhost"),
        ("a\x1b[31m\x00b", "\x1b"),
    ],
)
def test_secrets_paths_and_addresses_are_never_repeated(text: str, secret: str) -> None:
    assert secret not in said(500, {"error": {"message": text}}).message
    assert secret not in said(400, {"error": text}).message
    assert secret not in from_frame(json.dumps({"error": text}).encode(), "m").message


def test_model_files_keep_their_name() -> None:
    assert "smol.gguf" in said(500, {"error": "failed to load /home/anna/models/smol.gguf"}).message


def test_length_is_bounded() -> None:
    assert len(said(400, {"error": "x" * 100_000}).message) <= 1000


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[1,2]", b"null", b"{}", b"[" * 5000, b'{"error":[]}', b'{"error":{"message":7}}',
     b'{"detail":[{"loc":7}]}', b'{"detail":[{"loc":null,"msg":null}]}'],
)  # fmt: skip
def test_nonsense_is_still_an_error(body: bytes) -> None:
    error = said(500, body)
    assert isinstance(error, UpstreamError)
    assert error.message == "The model's server failed: status 500." or body == b"\xff\xfe"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": "Unexpected endpoint or method. (POST /v1/x)"}, UnsupportedFeature),
        ({"error": {"type": "invalid_request_error", "message": "x"}}, InvalidRequest),
        ({"error": {"code": "503", "message": "x"}}, ProviderUnavailable),
        ({"error": {"code": "weird", "message": "x"}}, UpstreamError),
        ({"error": {"code": True, "message": "x"}}, UpstreamError),
        ({"error": {"code": "²", "message": "x"}}, UpstreamError),
        ({"error": {"code": "9" * 5000, "message": "x"}}, UpstreamError),
    ],
)
@pytest.mark.req("F-043")
def test_frames_without_a_status(value: dict[str, Any], kind: type[GatewayError]) -> None:
    assert type(from_frame(json.dumps(value).encode(), "m")) is kind
