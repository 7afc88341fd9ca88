"""Embeddings and rerank of real models: every API gives the same numbers, and what cannot be done is refused."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import lmstudio
import openai as sdk
import pytest
from ollama import Client, ResponseError
from openai import OpenAI

from tests.conformance.conftest import House

TEXT = "The sea is calm today."
LONG = "sea " * 700
DOCUMENTS = ["The sea is blue.", "Cars have four wheels.", "Interest rates rose.", "Ships sail on the sea."]


@pytest.fixture
def ollama(house: House) -> Iterator[Client]:
    headers = {"Authorization": f"Bearer {house.key}"}
    with Client(host=house.url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


def ask(http: httpx2.Client, given: Any, **fields: Any) -> httpx2.Response:
    return http.post("/v1/embeddings", json={"model": "minilm", "input": given, **fields})


def vectors(http: httpx2.Client, given: Any, **fields: Any) -> list[list[float]]:
    reply = ask(http, given, **fields)
    assert reply.status_code == 200, reply.text
    return [each["embedding"] for each in reply.json()["data"]]


@pytest.mark.req("S0-47", "S4-15")
def test_every_api_gives_the_same_numbers(house: House, http: httpx2.Client, ollama: Client) -> None:
    (floats,) = vectors(http, TEXT)
    assert len(floats) == 384
    with house.openai() as client:  # asks for base64, which is float32: no digit is lost
        assert client.embeddings.create(model="minilm", input=TEXT).data[0].embedding == floats
    assert list(ollama.embed(model="minilm", input=TEXT).embeddings[0]) == floats
    assert list(ollama.embeddings(model="minilm", prompt=TEXT).embedding) == floats
    v0 = http.post("/api/v0/embeddings", json={"model": "minilm", "input": TEXT}).json()
    assert v0["data"][0]["embedding"] == floats
    with lmstudio.Client(house.url.removeprefix("http://")) as studio:
        assert list(studio.embedding.model("minilm").embed(TEXT)) == floats


def test_fewer_dimensions_are_the_same_everywhere_too(http: httpx2.Client, openai: OpenAI, ollama: Client) -> None:
    (whole,), (cut,) = vectors(http, TEXT), vectors(http, TEXT, dimensions=64)
    norm = math.sqrt(math.fsum(x * x for x in whole[:64]))
    assert cut == [x / norm for x in whole[:64]]
    assert list(ollama.embed(model="minilm", input=TEXT, dimensions=64).embeddings[0]) == cut
    packed = openai.embeddings.create(model="minilm", input=TEXT, dimensions=64).data[0].embedding
    assert packed == pytest.approx(cut, abs=1e-7)  # float32
    for wrong in (385, 0, "64"):
        reply = ask(http, TEXT, dimensions=wrong)
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "dimensions"
        assert reply.headers["x-should-retry"] == "false"


def test_hundreds_of_texts_keep_their_order(openai: OpenAI) -> None:
    texts = [f"text number {number}" for number in range(200)]
    reply = openai.embeddings.create(model="minilm", input=texts)
    assert [each.index for each in reply.data] == list(range(200))
    assert reply.usage.prompt_tokens == reply.usage.total_tokens >= 200 * 4
    single = openai.embeddings.create(model="minilm", input=texts[117]).data[0].embedding
    assert reply.data[117].embedding == pytest.approx(single, abs=1e-4)


def test_token_ids(http: httpx2.Client) -> None:
    hello = [101, 7592, 2088, 102]  # [CLS] hello world [SEP]
    (text,) = vectors(http, "hello world")
    assert vectors(http, hello) == [text]
    two = vectors(http, [hello, hello])
    assert two[0] == pytest.approx(text, abs=1e-4)
    assert len(two) == 2
    assert len(vectors(http, ["hello", hello])) == 2
    reply = ask(http, [10**9])
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"), ([], "input"), (None, "input"), (7, "input"), ({}, "input"), (["a", ""], "input[1]"), (["a", []], "input[1]"),
        ([["a"]], "input[0]"), ([1, "a"], "input"), ([True], "input[0]"), ([-1], "input[0]"), (["a"] * 2049, "input"),
    ],
)  # fmt: skip
def test_what_is_no_input_is_named(http: httpx2.Client, given: Any, param: str) -> None:
    reply = ask(http, given)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


@pytest.mark.req("F-129")
def test_a_text_that_is_too_long(house: House, openai: OpenAI, http: httpx2.Client, ollama: Client) -> None:
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.embeddings.create(model="minilm", input=["short", LONG])
    error = caught.value
    assert (error.code, error.param) == ("context_length_exceeded", "input")
    assert isinstance(error.body, dict)
    assert (error.body["n_prompt_tokens"], error.body["n_ctx"]) == (702, 512)
    assert "minilm itself takes 512 tokens at most" in error.message
    assert error.response.headers["x-should-retry"] == "false"
    with pytest.raises(ResponseError, match="the input length exceeds the context length: 702 tokens, of 512"):
        ollama.embed(model="minilm", input=LONG, truncate=False)
    wish = {"X-LanHaven-Context-Overflow": "error"}
    assert http.post("/api/embed", json={"model": "minilm", "input": LONG}, headers=wish).status_code == 400
    with (
        lmstudio.Client(house.url.removeprefix("http://")) as studio,
        pytest.raises(lmstudio.LMStudioServerError, match=r"512 tokens.*702 tokens"),
    ):
        studio.embedding.model("minilm").embed(LONG)


def test_ollama_cuts_the_end_off_and_says_so(http: httpx2.Client) -> None:
    def embed(**fields: Any) -> httpx2.Response:
        return http.post("/api/embed", json={"model": "minilm", **fields})

    long = embed(input=["short", LONG])
    assert long.status_code == 200
    assert long.headers["x-lanhaven-dropped-tokens"] == "190"
    other = embed(input=["short", LONG + "storm " * 50], truncate=True)
    assert other.json()["embeddings"] == long.json()["embeddings"], "what is cut off changes nothing"
    assert other.headers["x-lanhaven-dropped-tokens"] == "240"
    assert "x-lanhaven-dropped-tokens" not in embed(input="short").headers
    old = http.post("/api/embeddings", json={"model": "minilm", "prompt": LONG})
    assert old.json()["embedding"] == pytest.approx(long.json()["embeddings"][1], abs=1e-4)
    wished = ask(http, LONG)
    assert wished.status_code == 400
    reply = http.post(
        "/v1/embeddings", json={"model": "minilm", "input": LONG}, headers={"X-LanHaven-Context-Overflow": "truncate"}
    )
    assert reply.headers["x-lanhaven-dropped-tokens"] == "190"
    assert reply.json()["data"][0]["embedding"] == old.json()["embedding"]


class TestTheWrongModel:
    @pytest.mark.parametrize(
        ("path", "body", "able"),
        [
            ("/v1/embeddings", {"model": "smollm2", "input": "x"}, "minilm"),
            ("/v1/embeddings", {"model": "ranks", "input": "x"}, "minilm"),  # llama.cpp would answer with zeros
            ("/v1/rerank", {"model": "minilm", "query": "x", "documents": ["y"]}, "ranks"),
            ("/v1/chat/completions", {"model": "minilm", "messages": [{"role": "user", "content": "x"}]}, "smollm2"),
            ("/v1/chat/completions", {"model": "ranks", "messages": [{"role": "user", "content": "x"}]}, "smollm2"),
            ("/v1/messages", {"model": "minilm", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}, "smollm2"),
            ("/api/embed", {"model": "ranks", "input": "x"}, "minilm"),
            ("/api/chat", {"model": "minilm", "messages": [{"role": "user", "content": "x"}]}, "smollm2"),
        ],
    )  # fmt: skip
    def test_is_told_which_can(self, http: httpx2.Client, path: str, body: dict[str, Any], able: str) -> None:
        reply = http.post(path, json=body)
        assert reply.status_code == 400
        assert f"{body['model']} cannot do" in reply.text
        assert able in reply.text.split("These can:")[1]


class TestRerank:
    @staticmethod
    def rank(http: httpx2.Client, path: str = "/v1/rerank", **fields: Any) -> httpx2.Response:
        return http.post(path, json={"model": "ranks", "query": "the sea", "documents": DOCUMENTS, **fields})

    def test_the_best_first_with_shares_from_0_to_1(self, http: httpx2.Client) -> None:
        reply = self.rank(http).json()
        scores = [each["relevance_score"] for each in reply["results"]]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < score < 1 for score in scores)
        assert len(set(scores)) == 4
        assert sorted(each["index"] for each in reply["results"]) == [0, 1, 2, 3]
        assert reply["model"] == "ranks"
        assert reply["object"] == "list"
        assert reply["usage"]["total_tokens"] > 4 * 5
        assert "document" not in reply["results"][0]

    @pytest.mark.parametrize("path", ["/rerank", "/v1/reranking", "/reranking"])
    def test_under_its_other_names(self, http: httpx2.Client, path: str) -> None:
        assert self.rank(http, path).json()["results"] == self.rank(http).json()["results"]

    def test_a_score_belongs_to_its_text(self, http: httpx2.Client) -> None:
        mixed = DOCUMENTS[:]
        random.Random(7).shuffle(mixed)
        one = {DOCUMENTS[each["index"]]: each["relevance_score"] for each in self.rank(http).json()["results"]}
        other = self.rank(http, documents=[{"text": each} for each in mixed], return_documents=True).json()["results"]
        for each in other:
            assert each["document"] == {"text": mixed[each["index"]]}
            assert each["relevance_score"] == pytest.approx(one[mixed[each["index"]]], abs=1e-4)

    def test_only_the_best(self, http: httpx2.Client) -> None:
        results = self.rank(http).json()["results"]
        assert self.rank(http, top_n=2).json()["results"] == results[:2]
        assert self.rank(http, top_n=9).json()["results"] == results

    def test_many_documents(self, http: httpx2.Client) -> None:
        many = [f"text number {number}" for number in range(60)]
        reply = self.rank(http, documents=many, top_n=5).json()
        assert len(reply["results"]) == 5

    def test_cohere(self, http: httpx2.Client) -> None:
        reply = self.rank(http, "/v2/rerank", top_n=1).json()
        assert reply["results"] == self.rank(http, top_n=1).json()["results"]
        assert reply["id"]
        assert reply["meta"]["api_version"] == {"version": "2"}

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"query": ""}, "query"), ({"query": None}, "query"), ({"documents": []}, "documents"),
            ({"documents": "text"}, "documents"), ({"documents": ["a", 7]}, "documents[1]"),
            ({"documents": [{"title": "a"}]}, "documents[0]"), ({"top_n": 0}, "top_n"), ({"top_n": "2"}, "top_n"),
            ({"return_documents": "yes"}, "return_documents"),
        ],
    )  # fmt: skip
    def test_what_is_no_request_is_named(self, http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
        reply = self.rank(http, **fields)
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == param

    @pytest.mark.req("F-129")
    def test_a_document_that_is_too_long(self, http: httpx2.Client) -> None:
        error = self.rank(http, documents=["short", LONG]).json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "documents")
        assert error["n_prompt_tokens"] > 700
        assert error["n_ctx"] == 512
