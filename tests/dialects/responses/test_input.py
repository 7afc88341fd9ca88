"""Items as messages."""

from __future__ import annotations

from typing import Any

from lanhaven.dialects.responses.input import items_of, messages_of


def messages(*said: tuple[str, str]) -> list[dict[str, Any]]:
    items = items_of([{"role": role, "content": text} for role, text in said])
    return messages_of("", items, len(items))


def test_a_developer_within_the_conversation_is_told_in_the_users_turn() -> None:
    """Many chat templates refuse a system message that is not the first."""
    assert messages(("user", "a"), ("developer", "b"), ("user", "c"), ("assistant", "d"), ("developer", "e")) == [
        {"role": "user", "content": "a\n\n<system-reminder>\nb\n</system-reminder>\n\nc"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "<system-reminder>\ne\n</system-reminder>"},
    ]


def test_what_one_side_says_in_a_row_is_one_message_however_long() -> None:
    """Put together one by one, this took minutes, in which nothing else was served."""
    for role, kept in (("user", "user"), ("developer", "system"), ("assistant", "assistant")):
        found = messages(*[(role, "x" * 200)] * 20_000)
        assert [each["role"] for each in found] == ([kept, "user"] if kept == "system" else [kept])
        assert len(found[0]["content"]) == 20_000 * 202 - 2
