"""Tokens and errors in LM Studio's form."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.errors import InvalidRequest
from lanhaven.lmstudio.error_data import ErrorData, read_error
from lanhaven.lmstudio.tokens import identity
from tests.lmstudio.words import no_model, not_loaded


def test_a_token_has_two_halves() -> None:
    made = identity("sk-lm-abcdefgh:01234567890123456789")
    frame = {"authVersion": 1, "clientIdentifier": "abcdefgh", "clientPasskey": "01234567890123456789"}
    assert made.frame() == frame
    assert made.passkey not in repr(made)


@pytest.mark.parametrize("other", [None, "a-key-of-another-server"])
def test_without_one_we_are_a_guest_with_a_name_of_our_own(other: str | None) -> None:
    one, two = identity(other), identity(other)
    assert one.identifier.startswith("guest:")
    assert one != two
    assert len(one.identifier) < 256 > len(one.passkey)
    assert str(other) not in str(one.frame())


@pytest.mark.parametrize("token", ["sk-lm-", "sk-lm-abcdefgh", "sk-lm-abcdefgh:short", "sk-lm-abcdefg!:" + "0" * 20])
def test_a_token_that_is_cut_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        identity(token)
    assert token == "sk-lm-" or token not in caught.value.message


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"title": "Engine crashed", "cause": "boom", "suggestion": "retry"}, "Engine crashed: boom"),
        ({"title": "a b", "cause": "b"}, "a b"),
        ({"rootTitle": "only this"}, "only this"),
        ({"title": 5, "cause": []}, "Unknown error"),
        ("plain", "plain"),
        (None, "Unknown error"),
        ([], "Unknown error"),
        ({"title": "two\nlines  here"}, "two lines here"),
        ({"title": "x" * 9999}, "x" * 500),
    ],
)
def test_errors_are_read_whatever_they_are(said: Any, text: str) -> None:
    assert read_error(said).text == text


def test_what_an_error_is_about() -> None:
    assert read_error(no_model("x")).about_absence
    assert read_error(not_loaded("x")).about_absence
    assert read_error({"title": "Model with identifier x already exists"}).about_presence
    assert read_error({"title": "no", "cause": "It is already loaded."}).about_presence
    assert read_error({"title": "no", "displayData": {"code": 7}}) == ErrorData("no")
