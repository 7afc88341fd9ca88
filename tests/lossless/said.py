"""What a model says, piece by piece: the one thing that every dialect has to tell, whole and once.

A `Script` is what the upstream sends. `told` is what a client must have heard by then, in no dialect's words.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hypothesis import strategies as st

TOOLS = ("look", "add", "say-it")


@dataclass(frozen=True)
class Thought:
    """A piece of reasoning."""

    text: str


@dataclass(frozen=True)
class Words:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class CallPiece:
    """A piece of tool call `number`; its first one has the name."""

    number: int
    arguments: str
    name: str | None = None


Piece = Thought | Words | CallPiece


@dataclass(frozen=True)
class Counts:
    """Tokens."""

    prompt: int = 3
    answer: int = 2
    cached: int = 0
    thinking: int = 1


class End(Enum):
    """How the upstream's reply ends."""

    DONE = "as it should"
    NO_DONE = "finished, without [DONE]"
    REFUSED = "an error status instead of a stream"
    ERROR = "an error frame"
    ERROR_EVENT = "an error event"
    FIN = "the connection is closed"
    UNFINISHED = "a proper end, nothing finished"
    HALF = "a proper end in the middle of a frame"
    GARBAGE = "a frame that is no JSON"
    STALL = "nothing more comes"


GOOD = (End.DONE, End.NO_DONE)
BAD = tuple(each for each in End if each not in (*GOOD, End.STALL))


@dataclass(frozen=True)
class Script:
    """One reply of the upstream. finish: OpenAI's word. apart: the usage comes in a chunk of its own.

    cuts: sizes of the pieces that the body is cut into, in turns; split: bytes of one write.
    """

    pieces: tuple[Piece, ...]
    finish: str = "stop"
    counts: Counts = Counts()
    end: End = End.DONE
    apart: bool = True
    repeats_id: bool = False
    cuts: tuple[int, ...] = ()
    split: int = 0

    @property
    def good(self) -> bool:
        return self.end in GOOD


@dataclass
class Told:
    """What a client has heard. calls: name and arguments, in order. None: this dialect has no word for it."""

    text: str = ""
    thought: str | None = ""
    calls: list[tuple[str, Any]] | None = field(default_factory=list)
    stop: str | None = None
    prompt: int | None = None
    answer: int | None = None
    cached: int | None = None
    thinking: int | None = None

    def like(self, other: Told) -> Told:
        """The same, without what the other one has no words for."""
        return Told(**{name: None if vars(other)[name] is None else value for name, value in vars(self).items()})


def told(script: Script) -> Told:
    """What the script amounts to; arguments that are not complete stay text."""
    texts: dict[int, str] = {}
    names: dict[int, str] = {}
    for each in script.pieces:
        if isinstance(each, CallPiece):
            names.setdefault(each.number, each.name or "")
            texts[each.number] = texts.get(each.number, "") + each.arguments
    return Told(
        text="".join(each.text for each in script.pieces if isinstance(each, Words)),
        thought="".join(each.text for each in script.pieces if isinstance(each, Thought)),
        calls=[(names[number], arguments(texts[number])) for number in names],
        stop=script.finish,
        prompt=script.counts.prompt,
        answer=script.counts.answer,
        cached=script.counts.cached,
        thinking=script.counts.thinking,
    )


def arguments(text: str) -> Any:
    """As JSON; the text itself where it is none."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


# ---- any script

NASTY = (
    "data: ", "[DONE]", "data: [DONE]\n\n", "\n\n", "\r\n", "\r", ": ping\n\n", "event: error\n", '{"error": "x"}', "</think>",
    "\u2028", "\u2029", "\x85", "\x0b\x0c\x1c", "\u0301", "e\u0301", "\U0001f468\u200d\U0001f469", "\ufeff", "\ufffd", "\u202e", "\\", '"',
    "\\u0000", "\x01\x7f", "\x00",
)  # fmt: skip
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.text("ab ", min_size=1, max_size=5),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), texts),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def calls(draw: st.DrawFn) -> list[Piece]:
    """Some calls in parallel, their arguments cut anywhere; sometimes their pieces come in turns."""
    per_call = []
    for number in range(draw(st.integers(1, 3))):
        said = draw(st.dictionaries(texts, values, max_size=3))
        text = json.dumps(said, ensure_ascii=draw(st.booleans())) if said or draw(st.booleans()) else ""
        cuts = sorted(
            {0, len(text), *(cut % (len(text) + 1) for cut in draw(st.lists(st.integers(0, 99), max_size=4)))}
        )
        parts = [text[start:end] for start, end in itertools.pairwise(cuts)] or [""]
        if draw(st.booleans()):
            parts.insert(0, "")  # the name comes alone
        name = draw(st.sampled_from(TOOLS))
        per_call.append([CallPiece(number, part, None if at else name) for at, part in enumerate(parts)])
    if draw(st.booleans()):
        return [piece for pieces in per_call for piece in pieces]
    return _in_turns(per_call)


def _in_turns(per_call: Sequence[list[CallPiece]]) -> list[Piece]:
    longest = max(map(len, per_call))
    return [pieces[at] for at in range(longest) for pieces in per_call if at < len(pieces)]


@st.composite
def scripts(draw: st.DrawFn, ends: Sequence[End] = GOOD) -> Script:
    """Thoughts and words in any order, then perhaps calls. One that ends badly does so anywhere."""
    pieces: list[Piece] = draw(st.lists(st.builds(Thought, texts) | st.builds(Words, texts), max_size=8))
    finish = draw(st.sampled_from(["stop", "stop", "length", "content_filter"]))
    if draw(st.booleans()):
        pieces += draw(calls())
        finish = draw(st.sampled_from(["tool_calls", "tool_calls", "stop"]))
    prompt = draw(st.integers(1, 4000))  # both fit into the context of the model
    answer = draw(st.integers(1, 4000))
    end = draw(st.sampled_from(ends))
    if end not in GOOD:
        pieces = pieces[: draw(st.integers(0, len(pieces)))]
    return Script(
        tuple(pieces),
        finish,
        Counts(prompt, answer, draw(st.integers(0, prompt)), draw(st.integers(1, answer))),
        end,
        apart=draw(st.booleans()),
        repeats_id=draw(st.booleans()),
        cuts=tuple(draw(st.lists(st.integers(1, 300), max_size=4))),
        split=draw(st.sampled_from([0, 0, 1000, 61, 7])),
    )
