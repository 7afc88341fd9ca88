"""The replies that an upstream words differently from OpenAI, put right: embeddings' dimensions, completions'
logprobs."""

from __future__ import annotations

import math
from array import array
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Self

from lanhaven.errors import InvalidRequest, UpstreamError
from lanhaven.types.chat import Route
from lanhaven.wire import data_of, encode, read_object, sse


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What the client asked of embeddings that engines do not do (llama.cpp ignores `dimensions`)."""

    dimensions: int
    base64: bool

    @classmethod
    def take(cls, body: dict[str, Any]) -> Self | None:
        """Take `dimensions` out of the body; None when the upstream's reply can pass as it is."""
        encoding = body.get("encoding_format")
        if encoding not in (None, "float", "base64"):
            raise InvalidRequest("encoding_format must be float or base64.", param="encoding_format", retry=False)
        dimensions = body.pop("dimensions", None)
        if dimensions is None:
            return None
        body["encoding_format"] = "float"
        return cls(dimensions, encoding == "base64")

    def apply(self, reply: bytes) -> bytes:
        """Cut each vector to `dimensions` and bring it back to length 1, as OpenAI's models do."""
        body = read_object(reply)
        try:
            for item in body["data"]:
                item["embedding"] = self._cut(item["embedding"])
        except (KeyError, TypeError) as error:
            raise UpstreamError("The engine's embedding reply has no vectors.") from error
        return encode(body)

    def _cut(self, vector: list[float]) -> list[float] | str:
        if self.dimensions > len(vector):
            raise InvalidRequest(
                f"dimensions is {self.dimensions}, this model has {len(vector)}.", param="dimensions", retry=False
            )
        cut = vector[: self.dimensions]
        norm = math.sqrt(math.fsum(x * x for x in cut)) or 1.0
        scaled = [x / norm for x in cut]
        return b64encode(_little_endian(scaled)).decode() if self.base64 else scaled


def _little_endian(values: list[float]) -> bytes:
    packed = array("f", values)
    if array("H", [1]).tobytes() == b"\x00\x01":
        packed.byteswap()
    return packed.tobytes()


def has_legacy_logprobs(route: Route, body: dict[str, Any]) -> bool:
    """Whether the reply needs `legacy_logprobs`: text completions with logprobs."""
    asked = body.get("logprobs")
    if route is not Route.COMPLETION or asked is None or asked is False:
        return False
    if isinstance(asked, bool) or not isinstance(asked, int) or not 0 <= asked <= 20:
        raise InvalidRequest("logprobs must be a whole number from 0 to 20.", param="logprobs", retry=False)
    return True


def legacy_logprobs(reply: bytes, *, frame: bool = False) -> bytes:
    """llama.cpp answers /v1/completions with the logprobs of chat (`content[]`): give tokens, token_logprobs, ..."""
    data = data_of(reply) if frame else reply
    if data is None or data == b"[DONE]":
        return reply
    body = read_object(data)
    for choice in body.get("choices", ()):
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            choice["logprobs"] = _legacy(logprobs["content"])
    return sse(encode(body)) if frame else encode(body)


def _legacy(content: list[dict[str, Any]]) -> dict[str, Any]:
    tokens = [each.get("token", "") for each in content]
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [each.get("logprob") for each in content],
        "top_logprobs": [
            {top.get("token", ""): top.get("logprob") for top in each.get("top_logprobs") or ()} for each in content
        ],
        "text_offset": offsets,
    }
