"""Texts in the order of their worth for a question, in the words of Jina and Cohere, which others follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from lanhaven.errors import UpstreamError
from lanhaven.store import new_id
from lanhaven.wire import encode, read_object


@dataclass(frozen=True, slots=True)
class Rerank:
    """What is done here, so that every engine's answer is alike: order, number, and texts repeated.

    cohere: the reply is worded as the second version of Cohere's.
    """

    texts: list[str]
    top_n: int | None
    repeated: bool
    cohere: bool

    @classmethod
    def take(cls, body: dict[str, Any], *, cohere: bool) -> Self:
        """From a checked body, out of which it takes what the engine need not know."""
        texts = [each["text"] if isinstance(each, dict) else each for each in body["documents"]]
        body["documents"] = texts
        return cls(texts, body.pop("top_n", None), body.pop("return_documents", None) is True, cohere)

    def apply(self, reply: bytes, *, logits: bool) -> bytes:
        """The reply as it was asked for. logits: its scores are; Jina's and Cohere's lie between 0 and 1."""
        body = read_object(reply)
        try:
            scored = [(each["index"], float(each["relevance_score"])) for each in body["results"]]
            texts = {index: self.texts[index] for index, _ in scored}
            if any(index < 0 for index in texts):
                raise IndexError
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            raise UpstreamError("The engine's rerank reply has no scores.") from None
        best = sorted(scored, key=lambda each: (-each[1], each[0]))[: self.top_n]
        results: list[dict[str, Any]] = []
        for index, score in best:
            document = {"document": {"text": texts[index]}} if self.repeated else {}
            results.append({"index": index, "relevance_score": _share(score) if logits else score, **document})
        if self.cohere:
            meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
            return encode({"id": new_id("rerank"), "results": results, "meta": meta})
        return encode({**body, "object": "list", "results": results})


def _share(logit: float) -> float:
    """From 0 to 1, without an overflow at either end."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1 + power)
