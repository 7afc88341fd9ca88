"""A prompt that its instance cannot hold: the error with both numbers and the way out, or, where client or operator
want it so, the prompt without its oldest turns. Pure, but for the counting, which the engine does.

What never goes: system messages, the last user message, and what the model is to answer. A tool's call and its result
go together. Whole turns (from one user message to the next) go first, because templates want user and assistant in
turns; only where the last turn alone is too long (an agent's loop) do calls with their results go from inside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.errors import ContextLengthExceeded, InvalidRequest
from lanhaven.types.chat import Route
from lanhaven.types.models import ModelInfo, Overflow

HEADER = b"x-lanhaven-context-overflow"
ANSWER = 1024  # tokens that an answer of unsaid length should have
STEP = 1024  # context lengths that are advised are multiples of it
OTHERS = 3  # models that are named
MARKS = 8  # tokens around a text at most; a character is four at most
CHARACTERS = 4  # of a token, nearly, in most languages
PICTURE = 3000  # characters that a picture weighs, where the upstream cannot count
LONGEST = "This model's maximum context length is"  # the words by which clients of OpenAI's know the error

Message = Mapping[str, Any]
Count = Callable[[Sequence[Message]], Awaitable[int]]
Tokenize = Callable[[str, bool], Awaitable[list[int]]]  # text, with the marks around it -> token ids

_RESULT = "Result of "  # how a tool's result begins for a model whose template knows no tools (dialects/tools)
_SYSTEM = frozenset({"system", "developer"})
_WHAT = {
    Route.CHAT: ("messages", "your messages"),
    Route.COMPLETION: ("prompt", "your prompt"),
    Route.EMBEDDING: ("input", "an input"),
    Route.RERANK: ("documents", "the query and a document"),
}


def read_overflow(value: str, param: str) -> Overflow:
    """A policy by its name. InvalidRequest for a word that is none."""
    try:
        return Overflow(value)
    except ValueError:
        names = ", ".join(Overflow)
        raise InvalidRequest(f"{param} must be one of {names}.", param=param, retry=False) from None


# ---- the error


@dataclass(frozen=True, slots=True)
class Served:
    """The instance that could not hold the prompt. context: tokens, None where the upstream does not tell.

    others: all models, of which those that could are named.
    """

    info: ModelInfo
    instance_id: str
    context: int | None
    others: Sequence[ModelInfo] = ()


def explained(
    error: ContextLengthExceeded, route: Route, body: Mapping[str, Any], served: Served
) -> ContextLengthExceeded:
    """The error with both numbers and what would help: a command, if loading the model with more context does."""
    asked, there = number(error, "n_prompt_tokens"), number(error, "n_ctx") or served.context
    param, what = _WHAT.get(route, ("input", "your input"))
    facts = {name: value for name, value in (("n_prompt_tokens", asked), ("n_ctx", there)) if value is not None}
    message, hint = error.message, "shorten it"
    if asked is not None and there is not None and asked < there:  # a strict server counts the answer's limit too
        hint = f"ask for at most {there - asked} tokens (max_tokens)"
    elif asked is not None and there is not None:
        message = f"{LONGEST} {there} tokens, as it is loaded. However, {what} resulted in {asked} tokens."
        hint = hint if served.context is None else _way_out(asked, _answer(route, body), served)
    return ContextLengthExceeded(message, param=param, hint=hint, retry=False, facts=facts)


def _way_out(asked: int, answer: int, served: Served) -> str:
    info = served.info
    longest = info.max_context
    if longest is not None and asked + min(answer, 1) > longest:
        able = [
            each.key
            for each in served.others
            if (each.max_context or 0) > asked and each.kind is info.kind and each.unavailable is None
        ]
        other = f", or ask {' or '.join(able[:OTHERS])}, which can be loaded with more" if able else ""
        return f"shorten it: {info.key} itself takes {longest} tokens at most{other}"
    wanted = asked + answer
    rounded = -(-wanted // STEP) * STEP
    length = rounded if longest is None else min(rounded, longest)
    name = f" --as {served.instance_id}" if served.instance_id != info.key else ""
    return f"lanhaven unload {served.instance_id} && lanhaven load {info.key}{name} --context-length {length}"


def _answer(route: Route, body: Mapping[str, Any]) -> int:
    """Tokens that the answer should have."""
    if route not in (Route.CHAT, Route.COMPLETION):
        return 0
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit if isinstance(limit, int) and limit > 0 else ANSWER


def number(error: ContextLengthExceeded, name: str) -> int | None:
    value = error.facts.get(name)
    return value if isinstance(value, int) else None


def both_numbers(error: ContextLengthExceeded) -> tuple[int, int] | None:
    """Tokens of the prompt and of the context it does not fit; None where one is unknown, or the prompt alone fits."""
    asked, there = number(error, "n_prompt_tokens"), number(error, "n_ctx")
    return (asked, there) if asked is not None and there is not None and asked >= there else None


# ---- leaving turns out


@dataclass(frozen=True, slots=True)
class Shorter:
    """Messages that should fit, how many are gone, and how many tokens they still have (as `count` counts)."""

    messages: list[Message]
    gone: int
    tokens: int


async def shortened(
    messages: Sequence[Message], body: Mapping[str, Any], policy: Overflow, context: int, count: Count
) -> Shorter | None:
    """Without as few of the oldest turns as make room for the prompt and an answer; None if none, or not enough, may
    go. context: tokens that the instance holds."""
    units = droppable(messages, keep_first=policy is Overflow.DROP_MIDDLE)
    if not units:
        return None
    shortest = await _without(messages, units, len(units), count)
    if shortest.tokens >= context:  # one token is for the answer
        return None
    goal = context - min(_answer(Route.CHAT, body), context // 4, 4 * ANSWER)
    low, high, best = 1, len(units), shortest
    while low < high and best.tokens <= goal:  # the fewest units that are enough lie in low..high
        middle = (low + high) // 2
        tried = await _without(messages, units, middle, count)
        if tried.tokens <= goal:
            high, best = middle, tried
        else:
            low = middle + 1
    return best


async def _without(messages: Sequence[Message], units: Sequence[Sequence[int]], many: int, count: Count) -> Shorter:
    gone = {index for unit in units[:many] for index in unit}
    rest = [message for index, message in enumerate(messages) if index not in gone]
    return Shorter(rest, len(gone), await count(rest))


def droppable(messages: Sequence[Message], *, keep_first: bool = False) -> list[list[int]]:
    """What may go, in this order: indices of the messages that go together."""
    turns: list[list[list[int]]] = []  # each of units, each of indices
    for index, message in enumerate(messages):
        role = message.get("role")
        if role in _SYSTEM:
            continue
        if turns and _is_result(message):
            turns[-1][-1].append(index)
        elif turns and role != "user":
            turns[-1].append([index])
        else:
            turns.append([[index]])
    if not turns:
        return []
    *old, last = turns
    whole = [[index for unit in turn for index in unit] for turn in old]
    return whole[1:] + last[1:-1] if keep_first else whole + last[1:-1]


def _is_result(message: Message) -> bool:
    content = message.get("content")
    told = message.get("role") == "user" and isinstance(content, str) and content.startswith(_RESULT)
    return told or message.get("role") in ("tool", "function")


def scaled(messages: Sequence[Message], tokens: int) -> Count:
    """Counts for an upstream that cannot: `tokens` are those of all `messages`, and a part has its share of them. What
    the estimate gets wrong the upstream says, with its own number for the next one."""
    whole = max(1, sum(map(_weight, messages)))

    async def count(part: Sequence[Message]) -> int:
        return -(-tokens * sum(map(_weight, part)) // whole)

    return count


def about(body: Mapping[str, Any]) -> int:
    """Tokens of a prompt that nobody counted, by its length."""
    said = body.get("messages")
    messages = [each for each in said if isinstance(each, dict)] if isinstance(said, list) else []
    return (sum(map(_weight, messages)) + len(f"{body.get('prompt') or ''}{body.get('tools') or ''}")) // CHARACTERS


def _weight(message: Message) -> int:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [each.get("text") for each in parts if isinstance(each, dict)]
    said = sum(len(text) if isinstance(text, str) else 0 if text is None else PICTURE for text in texts)
    pictures = sum(PICTURE for each in parts if isinstance(each, dict) and "image_url" in each)
    return 16 + said + pictures + len(str(message.get("tool_calls") or ""))


# ---- the end of a text that is to be embedded


async def truncated(given: Any, context: int, tokenize: Tokenize) -> tuple[list[Any], int]:
    """Inputs of an embedding, those that are too long as token ids without their end; and how many tokens are gone."""
    single = isinstance(given, str) or (isinstance(given, list) and bool(given) and isinstance(given[0], int))
    cut: list[Any] = []
    gone = 0
    for each in [given] if single else given:
        if isinstance(each, str) and 4 * len(each) < context - MARKS:
            cut.append(each)
            continue
        tokens = each if isinstance(each, list) else await tokenize(each, True)
        if len(tokens) <= context:
            cut.append(each)
            continue
        mark = 0 if isinstance(each, list) else len(_mark_after(tokens, await tokenize(each, False)))
        cut.append(tokens[: context - mark] + tokens[len(tokens) - mark :])
        gone += len(tokens) - context
    return cut, gone


def _mark_after(marked: Sequence[int], plain: Sequence[int]) -> Sequence[int]:
    """The marks that a model reads at a text's end, such as BERT's [SEP]."""
    for before in range(len(marked) - len(plain) + 1):
        if list(marked[before : before + len(plain)]) == list(plain):
            return marked[before + len(plain) :]
    return ()
