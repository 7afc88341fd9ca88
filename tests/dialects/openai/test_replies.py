"""Embeddings and scores as clients want them, from servers that word them otherwise."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from lanhaven.dialects.openai.replies import Embeddings, legacy_logprobs, vectors
from lanhaven.dialects.openai.rerank import Rerank
from lanhaven.errors import InvalidRequest, UpstreamError

FLOATS = [0.6, 0.0, 0.8]
PACKED = base64.b64encode(struct.pack("<3f", *FLOATS)).decode()


def reply(*embeddings: Any) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(embeddings)]
    return json.dumps({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 3}}).encode()


def shaped(body: dict[str, Any], data: bytes) -> Any:
    return json.loads(Embeddings.take(body).apply(data))["data"][0]["embedding"]


class TestEmbeddings:
    def test_a_reply_that_is_right_passes_as_it_came(self) -> None:
        right = reply(FLOATS, FLOATS).replace(b", ", b" ,  ")
        assert Embeddings.take({"input": ["a", "b"]}).apply(right) is right
        packed = reply(PACKED)
        assert Embeddings.take({"input": "a", "encoding_format": "base64"}).apply(packed) is packed

    def test_a_server_that_ignores_the_form(self) -> None:
        assert shaped({"input": "a", "encoding_format": "base64"}, reply(FLOATS)) == PACKED
        assert shaped({"input": "a"}, reply(PACKED)) == pytest.approx(FLOATS)

    def test_fewer_dimensions_have_length_1(self) -> None:
        body = {"input": "a", "encoding_format": "base64", "dimensions": 2}
        assert struct.unpack("<2f", base64.b64decode(shaped(body, reply(FLOATS)))) == (1.0, 0.0)
        assert body == {"input": "a", "encoding_format": "float"}, "the engine shall send what can be cut"
        assert vectors(reply(FLOATS, PACKED), 1) == [[1.0], [1.0]]
        with pytest.raises(InvalidRequest, match="dimensions is 4, this model has 3"):
            shaped({"input": "a", "dimensions": 4}, reply(FLOATS))

    @pytest.mark.parametrize(
        "data",
        [b"{}", b'{"data": 7}', reply(), reply(FLOATS, FLOATS), reply("!"), reply("AAA="), reply(None), reply(["a"]),
         reply([10**400])],
    )  # fmt: skip
    def test_a_reply_without_the_vectors_is_the_upstreams_fault(self, data: bytes) -> None:
        with pytest.raises(UpstreamError, match="vectors"):
            Embeddings.take({"input": "a", "dimensions": 2}).apply(data)

    def test_no_vector_at_all(self) -> None:
        with pytest.raises(UpstreamError, match="no vectors"):
            vectors(reply(), None)

    def test_an_encoding_that_is_none(self) -> None:
        with pytest.raises(InvalidRequest, match="float or base64"):
            Embeddings.take({"input": "a", "encoding_format": "binary"})


class TestRerank:
    @staticmethod
    def ranked(data: Any, *, logits: bool = False, cohere: bool = False, **fields: Any) -> Any:
        body = {"query": "q", "documents": ["a", {"text": "b"}, "c"], **fields}
        rerank = Rerank.take(body, cohere=cohere)
        assert body["documents"] == ["a", "b", "c"]
        assert not {"top_n", "return_documents"} & body.keys()
        return json.loads(rerank.apply(json.dumps(data).encode(), logits=logits))

    @staticmethod
    def scores(*values: float) -> dict[str, Any]:
        return {"model": "m", "results": [{"index": n, "relevance_score": each} for n, each in enumerate(values)]}

    def test_the_best_first_and_no_more_than_asked(self) -> None:
        results = self.ranked(self.scores(0.1, 0.9, 0.5), top_n=2, return_documents=True)["results"]
        assert results == [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "c"}},
        ]

    def test_logits_become_shares(self) -> None:
        results = self.ranked(self.scores(-800.0, 0.0, 800.0), logits=True)["results"]
        assert [(each["index"], each["relevance_score"]) for each in results] == [(2, 1.0), (1, 0.5), (0, 0.0)]

    def test_cohere(self) -> None:
        told = self.ranked(self.scores(0.1, 0.9, 0.5), cohere=True, top_n=1)
        assert told["results"] == [{"index": 1, "relevance_score": 0.9}]
        assert told.keys() == {"id", "results", "meta"}

    @pytest.mark.parametrize(
        "data",
        [
            {}, {"results": [{"index": 0}]}, {"results": [{"index": 3, "relevance_score": 1}]}, {"results": 7},
            {"results": [{"index": "a", "relevance_score": 1}]}, {"results": [{"index": 0, "relevance_score": "x"}]},
            {"results": [{"index": -1, "relevance_score": 1}]}, {"results": [{"index": 0, "relevance_score": 10**400}]},
        ],
    )  # fmt: skip
    def test_a_reply_without_scores_is_the_upstreams_fault(self, data: Any) -> None:
        with pytest.raises(UpstreamError, match="no scores"):
            self.ranked(data)


TOKEN = {"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1.0}]}


class TestLegacyLogprobs:
    def test_they_become_those_of_text_completions(self) -> None:
        told = {"choices": [{"text": "ab", "logprobs": {"content": [TOKEN, {"token": "b"}]}}, {"text": "x"}]}
        assert json.loads(legacy_logprobs(json.dumps(told).encode()))["choices"][0]["logprobs"] == {
            "tokens": ["a", "b"],
            "token_logprobs": [-1.0, None],
            "top_logprobs": [{"a": -1.0}, {}],
            "text_offset": [0, 1],
        }

    @pytest.mark.parametrize(
        "choices",
        [7, [None], [{"logprobs": 7}], [{"logprobs": {"content": [None]}}], [{"logprobs": {"content": [{"token": 7}]}}],
         [{"logprobs": {"content": [TOKEN | {"top_logprobs": [7]}]}}]],
    )  # fmt: skip
    def test_what_is_of_neither_form_stays(self, choices: Any) -> None:
        told = {"choices": choices}
        assert json.loads(legacy_logprobs(json.dumps(told).encode())) == told
