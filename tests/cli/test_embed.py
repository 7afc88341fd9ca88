"""`embed`: texts as vectors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.scripted import Asked, Cli, Handler, Scripted
from tests.cli.test_failures import tries

EMBEDDINGS = "/v1/embeddings"
CARDS = [
    {"id": "smollm2", "kind": "llm", "status": "ready"},
    {"id": "cut-off", "kind": "embedding", "status": "error"},
    {"id": "large", "kind": "embedding", "status": "unloaded"},
    {"id": "minilm", "kind": "embedding", "status": "ready"},
]


def vectors(handler: Handler, asked: Asked) -> None:
    body = asked.body
    data = [
        {"object": "embedding", "index": index, "embedding": [index + 0.12345, -0.5, 0.25, 0.125, 0.0625]}
        for index in range(len(body["input"]))
    ]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    handler.reply(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})


def listed(*cards: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(cards)}


@pytest.mark.req("S0-47")
def test_a_line_for_each_text(cli: Cli, server: Scripted) -> None:
    server.does("POST", EMBEDDINGS, vectors)
    done = cli("embed", "The sea is calm.", "A quiet\nocean.", "-m", "minilm")
    assert (done.status, done.err) == (0, "")
    assert done.rows == [
        ["The sea is calm.", "5", "0.1235,-0.5,0.25,0.125"],
        ["A quiet ocean.", "5", "1.1235,-0.5,0.25,0.125"],
    ]
    (body,) = server.bodies(EMBEDDINGS)
    assert body == {"model": "minilm", "input": ["The sea is calm.", "A quiet\nocean."], "encoding_format": "float"}


def test_json_is_the_whole_reply_and_a_pipe_is_one_text(cli: Cli, server: Scripted) -> None:
    server.does("POST", EMBEDDINGS, vectors)
    done = cli("embed", "-m", "minilm", "--json", stdin="one\ntwo\n")
    assert done.json["data"][0]["embedding"] == [0.12345, -0.5, 0.25, 0.125, 0.0625]
    assert done.json["model"] == "minilm"
    assert server.bodies(EMBEDDINGS)[0]["input"] == ["one\ntwo\n"]


def test_on_a_terminal(cli: Cli, server: Scripted) -> None:
    server.does("POST", EMBEDDINGS, vectors)
    heading, row, figures = cli.on_terminal("embed", "-m", "minilm", "The sea is calm.").lines
    assert heading.split() == ["TEXT", "DIMENSIONS", "BEGINS"]
    assert row.split() == ["The", "sea", "is", "calm.", "5", "+0.1235", "-0.5000", "+0.2500", "+0.1250", "…"]
    assert figures == "minilm · 9 tokens"


@pytest.mark.parametrize(("cards", "expected"), [(CARDS, "minilm"), (CARDS[:3], "large")])
def test_without_a_model_an_embedding_model_is_taken(
    cli: Cli, server: Scripted, cards: list[dict[str, Any]], expected: str
) -> None:
    server.says("GET", "/v1/models", listed(*cards))
    server.does("POST", EMBEDDINGS, vectors)
    assert cli("embed", "hello", "--json").json["model"] == expected


def test_5_no_embedding_model(cli: Cli, server: Scripted) -> None:
    server.says("GET", "/v1/models", listed(*CARDS[:2]))
    done = cli("embed", "hello")
    assert (done.status, done.out) == (5, "")
    assert tries(done)[0] == "lanhaven get minilm"


@pytest.mark.parametrize(("words", "stdin"), [((), ""), ((), " \n"), (("a", ""), "")])
def test_2_nothing_to_embed(cli: Cli, server: Scripted, words: tuple[str, ...], stdin: str) -> None:
    done = cli("embed", *words, stdin=stdin)
    assert done.status == 2
    assert tries(done)
    assert not server.asked
