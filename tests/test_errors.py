"""The error tree, by itself: how an error is told where a reply has one text for what happened and what to try."""

from __future__ import annotations

import pytest

from lanhaven.errors import ContextLengthExceeded, ModelNotFound, Unauthorized


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Unauthorized", "Unauthorized. Try: send a key"),
        ("It died.", "It died. Try: send a key"),
        ("Is it there?", "Is it there? Try: send a key"),
    ],
)
def test_what_to_try_begins_a_sentence(message: str, told: str) -> None:
    assert Unauthorized(message, hint="send a key").told() == told


def test_without_a_hint_the_message_is_all() -> None:
    assert ModelNotFound("Model not found: x").told() == "Model not found: x"


def test_a_dialect_may_have_words_of_its_own() -> None:
    error = ContextLengthExceeded("Too long.", hint="shorten it")
    assert error.told("prompt is too long: 3 tokens > 2 maximum") == (
        "prompt is too long: 3 tokens > 2 maximum. Try: shorten it"
    )
