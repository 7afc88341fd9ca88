"""The replies that an upstream words differently from OpenAI, put right: embeddings' dimensions, completions'
logprobs."""

from __future__ import annotations

import math
import sys
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from lanhaven.errors import InvalidRequest, UpstreamError
from lanhaven.types.chat import Route
from lanhaven.wire import data_of, encode, read_object, sse

BIG_ENDIAN = sys.byteorder == "big"


class _Item(msgspec.Struct):
    """One vector, as it came."""

    embedding: msgspec.Raw


class _Vectors(msgspec.Struct):
    """What is looked at of a reply whose vectors are in the right form already."""

    data: list[_Item]


_read_vectors = msgspec.json.Decoder(_Vectors).decode
Vector = list[float]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What the client asked for, and engines may not do: llama.cpp ignores `dimensions`, some servers
    `encoding_format`. count: of the inputs, and so of the vectors."""

    count: int
    base64: bool
    dimensions: int | None

    @classmethod
    def take(cls, body: dict[str, Any]) -> Self:
        """From a checked body; takes `dimensions` out of it."""
        encoding = body.get("encoding_format")
        if encoding not in (None, "float", "base64"):
            raise InvalidRequest("encoding_format must be float or base64.", param="encoding_format", retry=False)
        dimensions = body.pop("dimensions", None)
        if dimensions is not None:
            body["encoding_format"] = "float"
        given = body["input"]
        several = isinstance(given, list) and not isinstance(given[0], int)
        return cls(len(given) if several else 1, encoding == "base64", dimensions)

    def apply(self, reply: bytes) -> bytes:
        """The reply as it was asked for; its own bytes where it is so already."""
        try:
            items = _read_vectors(reply).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _no_vectors() from None
        if len(items) != self.count:
            raise UpstreamError(f"The engine sent {len(items)} vectors for {self.count} inputs.")
        begins = b'"' if self.base64 else b"["
        if self.dimensions is None and all(bytes(each.embedding).startswith(begins) for each in items):
            return reply
        body = read_object(reply)
        for item in body["data"]:
            vector = shortened(_floats(item["embedding"]), self.dimensions)
            item["embedding"] = b64encode(_little_endian(vector)).decode() if self.base64 else vector
        return encode(body)


def vectors(reply: bytes, dimensions: int | None) -> list[Vector]:
    """The vectors of a reply, as numbers; one at least."""
    try:
        found = [shortened(_floats(item["embedding"]), dimensions) for item in read_object(reply)["data"]]
    except (KeyError, TypeError):
        raise _no_vectors() from None
    if not found:
        raise _no_vectors()
    return found


def shortened(vector: Vector, dimensions: int | None) -> Vector:
    """The first `dimensions` numbers, brought back to length 1, as OpenAI's do. InvalidRequest if it has less."""
    if dimensions is None:
        return vector
    if dimensions > len(vector):
        raise InvalidRequest(
            f"dimensions is {dimensions}, this model has {len(vector)}.", param="dimensions", retry=False
        )
    cut = vector[:dimensions]
    norm = math.sqrt(math.fsum(x * x for x in cut)) or 1.0
    return [x / norm for x in cut]


def _floats(embedding: Any) -> Vector:
    """Of a list, or of base64 over float32, low byte first."""
    try:
        if isinstance(embedding, list):
            return array("d", embedding).tolist()
        packed = array("f", b64decode(embedding, validate=True))
    except (TypeError, ValueError, OverflowError):
        raise _no_vectors() from None
    if BIG_ENDIAN:
        packed.byteswap()
    return packed.tolist()


def _little_endian(values: Vector) -> bytes:
    packed = array("f", values)
    if BIG_ENDIAN:
        packed.byteswap()
    return packed.tobytes()


def _no_vectors() -> UpstreamError:
    return UpstreamError("The engine's embedding reply has no vectors.")


def has_legacy_logprobs(route: Route, body: dict[str, Any]) -> bool:
    """Whether the reply needs `legacy_logprobs`: text completions with logprobs."""
    asked = body.get("logprobs")
    if route is not Route.COMPLETION or asked is None or asked is False:
        return False
    if isinstance(asked, bool) or not isinstance(asked, int) or not 0 <= asked <= 20:
        raise InvalidRequest("logprobs must be a whole number from 0 to 20.", param="logprobs", retry=False)
    return True


class _Top(msgspec.Struct, gc=False):
    token: str = ""
    logprob: float | None = None


class _Token(_Top, gc=False):
    top_logprobs: list[_Top] | None = None


def legacy_logprobs(reply: bytes, *, frame: bool = False) -> bytes:
    """llama.cpp answers /v1/completions with the logprobs of chat (`content[]`): give tokens, token_logprobs, ...

    What is of neither form stays as it is.
    """
    data = data_of(reply) if frame else reply
    if data is None or data == b"[DONE]":
        return reply
    body = read_object(data)
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        match choice:
            case {"logprobs": {"content": list(content)}}:
                choice["logprobs"] = _legacy(content) or choice["logprobs"]
    return sse(encode(body)) if frame else encode(body)


def _legacy(content: list[Any]) -> dict[str, Any] | None:
    try:
        tokens = msgspec.convert(content, list[_Token])
    except msgspec.ValidationError:
        return None
    offsets, at = [], 0
    for each in tokens:
        offsets.append(at)
        at += len(each.token)
    return {
        "tokens": [each.token for each in tokens],
        "token_logprobs": [each.logprob for each in tokens],
        "top_logprobs": [{top.token: top.logprob for top in each.top_logprobs or ()} for each in tokens],
        "text_offset": offsets,
    }
