"""Which turns of a conversation go where it is too long, and what the error says where none may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lanhaven.context import Message, Served, droppable, explained, read_overflow, scaled, shortened, truncated
from lanhaven.dialects.tools.offering import make_offer
from lanhaven.errors import ContextLengthExceeded, InvalidRequest
from lanhaven.types.chat import Route
from lanhaven.types.models import ModelInfo, ModelKind, Overflow

pytestmark = pytest.mark.anyio


def said(*turns: str) -> list[dict[str, Any]]:
    """ "s: text" is a system message; u user, a assistant, c a call of a tool, t its result."""
    roles = {"s": "system", "u": "user", "a": "assistant", "c": "assistant", "t": "tool"}
    messages: list[dict[str, Any]] = []
    for turn in turns:
        kind, _, text = turn.partition(": ")
        message: dict[str, Any] = {"role": roles[kind], "content": text}
        if kind == "c":
            function = {"name": "find", "arguments": "{}"}
            message |= {"content": None, "tool_calls": [{"id": text, "type": "function", "function": function}]}
        if kind == "t":
            message["tool_call_id"] = text
        messages.append(message)
    return messages


async def words(messages: Sequence[Message]) -> int:
    return sum(len(str(each["content"] or "").split()) for each in messages)


class TestWhatMayGo:
    def test_whole_turns_the_oldest_first_and_never_the_last(self) -> None:
        messages = said("s: be kind", "u: one", "a: two", "u: three", "a: four", "u: five")
        assert droppable(messages) == [[1, 2], [3, 4]]
        assert droppable(messages, keep_first=True) == [[3, 4]]

    def test_a_call_goes_with_its_result(self) -> None:
        messages = said("u: one", "c: 1", "t: 1", "t: 2", "a: done", "u: two")
        assert droppable(messages) == [[0, 1, 2, 3, 4]]

    def test_an_agents_loop_loses_calls_with_their_results_but_not_the_last_ones(self) -> None:
        messages = said("u: old", "a: old", "u: do it", "c: 1", "t: 1", "c: 2", "t: 2", "c: 3", "t: 3")
        assert droppable(messages) == [[0, 1], [3, 4], [5, 6]]

    def test_results_that_are_told_in_words_stay_with_their_calls(self) -> None:
        tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
        body: dict[str, Any] = {"messages": said("u: one", "c: 1", "t: 1", "a: so", "u: two"), "tools": [tool]}
        make_offer(body, ModelInfo("plain", "p", capabilities=frozenset({"chat"})))
        assert [each["role"] for each in body["messages"]][:4] == ["system", "user", "assistant", "user"]
        assert droppable(body["messages"]) == [[1, 2, 3, 4]]

    @pytest.mark.parametrize("messages", [said("u: one"), said("s: one", "u: two"), said("a: hi"), []])
    def test_a_single_question_stays(self, messages: list[dict[str, Any]]) -> None:
        assert droppable(messages) == []

    def test_instructions_in_the_middle_stay(self) -> None:
        messages = [*said("u: one", "a: two"), {"role": "developer", "content": "x"}, *said("u: three")]
        assert droppable(messages) == [[0, 1]]


class TestShortening:
    async def test_as_little_as_is_enough(self) -> None:
        messages = said(*(turn for number in range(10) for turn in (f"u: q{number} q q q", f"a: a{number} a a a")))
        found = await shortened([*messages, *said("u: last")], {"max_tokens": 4}, Overflow.DROP_OLDEST, 40, words)
        assert found is not None
        assert found.gone == 12
        assert found.tokens == 33  # a turn more would be 41; four are for the answer
        assert found.messages[0]["content"] == "q6 q q q"

    async def test_the_first_turn_may_be_kept(self) -> None:
        messages = said("s: sys", "u: first a b c", "a: yes a b c", "u: x x x x x x", "a: y y y y", "u: last")
        found = await shortened(messages, {"max_tokens": 1}, Overflow.DROP_MIDDLE, 12, words)
        assert found is not None
        assert [each["content"] for each in found.messages] == ["sys", "first a b c", "yes a b c", "last"]

    async def test_a_last_message_that_is_too_long_is_never_cut(self) -> None:
        messages = said("u: one", "a: two", f"u: {'x ' * 50}")
        assert await shortened(messages, {}, Overflow.DROP_OLDEST, 40, words) is None

    async def test_without_room_for_an_answer_it_goes_with_what_there_is(self) -> None:
        messages = said("u: one two", "a: three", f"u: {'x ' * 38}")
        found = await shortened(messages, {"max_tokens": 30}, Overflow.DROP_OLDEST, 40, words)
        assert found is not None
        assert found.tokens == 38

    async def test_an_estimate_gives_each_message_its_share(self) -> None:
        messages = said(f"u: {'x' * 984}", "a: ", f"u: {'x' * 968}")
        count = scaled(messages, 200)
        assert await count(messages) == 200
        assert await count(messages[2:]) == 99
        picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:..."}}]}
        assert await scaled([*messages, picture], 500)([picture]) > 250


class TestTheEndOfAText:
    async def test_marks_at_the_end_stay(self) -> None:
        async def tokenize(text: str, marked: bool) -> list[int]:
            plain = [ord(each) for each in text]
            return [101, *plain, 102] if marked else plain

        cut, gone = await truncated(["a" * 20, "b", [1, 2, 3], list(range(12))], 10, tokenize)
        assert cut == [[101, *[97] * 8, 102], "b", [1, 2, 3], list(range(10))]
        assert gone == 12 + 2

    async def test_a_single_text(self) -> None:
        async def tokenize(text: str, marked: bool) -> list[int]:
            return [7] * len(text)

        assert await truncated("x" * 30, 10, tokenize) == ([[7] * 10], 20)


INFO = ModelInfo("small", "llama_cpp", max_context=8192)
LONG = ModelInfo("long", "llama_cpp", max_context=131_072)


def error(asked: int | None = 3000, there: int | None = 2048) -> ContextLengthExceeded:
    facts = {"n_prompt_tokens": asked, "n_ctx": there}
    return ContextLengthExceeded("It does not fit.", facts={k: v for k, v in facts.items() if v is not None})


class TestTheError:
    @pytest.mark.req("F-129")
    def test_both_numbers_and_the_command_that_mends_it(self) -> None:
        told = explained(error(), Route.CHAT, {"max_tokens": 2000}, Served(INFO, "small", 2048))
        assert told.message == (
            "This model's maximum context length is 2048 tokens, as it is loaded. "
            "However, your messages resulted in 3000 tokens."
        )
        assert told.hint == "lanhaven unload small && lanhaven load small --context-length 5120"
        assert told.param == "messages"
        assert told.retry is False
        assert told.facts == {"n_prompt_tokens": 3000, "n_ctx": 2048}

    def test_an_instance_keeps_its_name_and_no_more_is_asked_than_the_model_has(self) -> None:
        told = explained(error(7800), Route.CHAT, {}, Served(INFO, "mine", 2048))
        assert told.hint == "lanhaven unload mine && lanhaven load small --as mine --context-length 8192"

    def test_a_model_that_cannot_hold_it_at_all(self) -> None:
        other = ModelInfo("vectors", "llama_cpp", ModelKind.EMBEDDING, max_context=131_072)
        told = explained(error(9000), Route.CHAT, {}, Served(INFO, "small", 2048, [INFO, LONG, other]))
        assert told.hint == (
            "shorten it: small itself takes 8192 tokens at most, or ask long, which can be loaded with more"
        )

    def test_a_server_that_loads_nothing_for_us(self) -> None:
        told = explained(error(), Route.COMPLETION, {}, Served(INFO, "small", None))
        assert (told.param, told.hint) == ("prompt", "shorten it")

    def test_an_answer_that_does_not_fit_behind_its_prompt(self) -> None:
        told = explained(error(1000, 4096), Route.CHAT, {}, Served(INFO, "small", 4096))
        assert told.message == "It does not fit."
        assert told.hint == "ask for at most 3096 tokens (max_tokens)"

    def test_numbers_that_nobody_knows_are_not_made_up(self) -> None:
        told = explained(error(None, None), Route.EMBEDDING, {}, Served(INFO, "small", 512))
        assert told.message == "It does not fit."
        assert told.facts == {"n_ctx": 512}


def test_a_policy_by_its_name() -> None:
    assert read_overflow("drop-oldest", "x") is Overflow.DROP_OLDEST
    with pytest.raises(InvalidRequest, match="error, drop-oldest, drop-middle, truncate"):
        read_overflow("cut", "x")
