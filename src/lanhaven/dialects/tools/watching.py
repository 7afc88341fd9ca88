"""Text of an answer to which tools were given: is it a call that the engine left in it? Pure.

Only the start of an answer is looked at (behind what a model thinks between <think> tags), and text is held back only
while it may still become a call: after "{" until its first field is no field of a call, after a fence until it is no
JSON. A mark that only calls begin with settles it at once; JSON without a mark is a call if it names a tool that was
given and nothing follows.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from lanhaven.dialects.tools.families import MARKS, Found, read_bare, read_marked
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.pieces import misnamed, unreadable
from lanhaven.dialects.tools.repair import MoreSaid, Unreadable

LIMIT = 256 << 10  # characters that are held back; a longer text is no call
_THINK, _THOUGHT = "<think>", "</think>"
_FENCE = re.compile(r"```(\w*)(\s*)")
_LANGUAGES = frozenset({"", "json", "tool_call", "tool_calls", "python"})
_KEY = re.compile(r'\{\s*"([^"\\]*)("?)\s*')
_VALUE = re.compile(r':\s*(?:(\{)|"([^"\\]*)("?))?')
_NAMING = frozenset({"name", "function", "tool", "tool_name"})
_FIRST = _NAMING | {"type", "id", "arguments", "parameters", "tool_calls"}
_ARGUMENTS = re.compile(r'["\'](?:arguments|parameters|args|input|tool_input)["\']\s*:')
_IDENTIFIER = re.compile(r"\[\s*([A-Za-z_][\w.-]*)(\(?)")


class Sign(Enum):
    """What a text is, as far as it has come."""

    WORDS = auto()  # no call, whatever follows
    OPEN = auto()  # it may become one
    LIKELY = auto()  # it looks like one: the end decides
    NAMED = auto()  # it calls a given tool, if nothing follows
    MARKED = auto()  # it has the mark of a call


class Watch:
    """One answer's text. Feed it all; what `feed` passes is words, and `end` says what the held rest is."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._sign = Sign.OPEN
        self._thinking = self._thought = False  # whether it thinks, has thought
        self._tail = ""  # of the thoughts, which may end in half a tag
        self._python = False  # it calls in Python's way
        self._mark = ""
        self.held = ""
        self.before = ""  # words of the held text, ahead of what may be a call

    @property
    def settled(self) -> bool:
        """Whether nothing that follows can be a call."""
        return self._sign is Sign.WORDS

    def feed(self, text: str) -> bool:
        """Whether this text, and whatever was held back before it, is words. False: it is held back."""
        if self._sign is Sign.WORDS:
            return True
        self.held += text
        if self._thinking or (not self._thought and self.held.lstrip().startswith(_THINK)):
            return self._think(text)
        if self._sign is Sign.OPEN:
            self._look()
        if len(self.held) > LIMIT:
            self._sign = Sign.WORDS
        return self._sign is Sign.WORDS

    def give_up(self) -> None:
        """A call has come in the way that it should: what else is said is words."""
        self._sign = Sign.WORDS

    def _think(self, text: str) -> bool:
        """Thoughts pass. What follows them in the same piece is held with them until it is known what it is."""
        seen = self._tail + (text if self._thinking else self.held)
        self._thinking = True
        thought, end, rest = seen.partition(_THOUGHT)
        if not end or not rest.strip():
            self._thinking, self._thought = not end, bool(end)
            self._tail, self.held = thought[1 - len(_THOUGHT) :], ""
            return True
        self._thinking, self._thought = False, True
        cut = len(self.held) - len(rest)
        self.before, self.held = self.held[:cut], rest
        self._look()
        return self._sign is Sign.WORDS

    def _look(self) -> None:
        text = self.held.lstrip()
        mark = next((each for each in MARKS if text.startswith(each)), None)
        if mark is not None:
            self._mark, self._sign = mark, self._sign_of_mark(mark, text)
        elif any(each.startswith(text) for each in (*MARKS, _THINK)):
            self._sign = Sign.OPEN
        else:
            self._sign = Sign.WORDS if self._offer.formatted else self._bare(text)

    def _sign_of_mark(self, mark: str, text: str) -> Sign:
        """`>>>` may begin a line of Python's shell; before a tool's name it is a call."""
        if mark != ">>>":
            return Sign.MARKED
        name = text[3:].lstrip()
        if any(name.startswith(each) for each in self._offer.names):
            return Sign.MARKED
        return self._begins(name, self._offer.names)

    def _bare(self, text: str) -> Sign:
        """Of a text without a mark."""
        if text.startswith("`"):
            return self._fenced(text)
        if text.startswith("["):
            return self._listed(text)
        return self._object(text) if text.startswith("{") else Sign.WORDS

    def _fenced(self, text: str) -> Sign:
        if "```".startswith(text):
            return Sign.OPEN
        head = _FENCE.match(text)
        if head is None:
            return Sign.WORDS
        inner = text[head.end() :]
        if not inner and not head[2]:
            return Sign.OPEN if any(each.startswith(head[1]) for each in _LANGUAGES) else Sign.WORDS
        if head[1] not in _LANGUAGES:
            return Sign.WORDS
        return self._bare(inner) if inner else Sign.OPEN

    def _listed(self, text: str) -> Sign:
        inner = text[1:].lstrip()
        if not inner:
            return Sign.OPEN
        if inner.startswith("{"):
            return self._object(inner)
        found = _IDENTIFIER.match(text)
        if found is None:
            return Sign.WORDS
        if found[2]:
            self._python = True
            return Sign.NAMED if found[1].removesuffix(".call") in self._offer.names else Sign.WORDS
        return self._begins(found[1], self._offer.names) if found.end() == len(text) else Sign.WORDS

    def _object(self, text: str) -> Sign:
        found = _KEY.match(text)
        if found is None:
            return Sign.OPEN if not text[1:].strip() else Sign.WORDS
        key, closed = found[1], found[2]
        if not closed:
            return self._begins(key, _FIRST) if found.end() == len(text) else Sign.WORDS
        if key not in _FIRST:
            return Sign.WORDS
        if key not in _NAMING and key != "type":
            return Sign.LIKELY
        return self._value(key, text[found.end() :])

    def _value(self, key: str, text: str) -> Sign:
        """Of what follows the first field's name."""
        if not text:
            return Sign.OPEN
        found = _VALUE.match(text)
        if found is None:
            return Sign.WORDS
        if found[1]:
            return Sign.LIKELY if key == "function" else Sign.WORDS
        if found[2] is None:
            return Sign.WORDS if text[found.end() :] else Sign.OPEN
        wanted = frozenset({"function"}) if key == "type" else self._offer.names
        value = found[2].removeprefix("functions.")
        if found[3]:
            known = value in wanted
            return (Sign.LIKELY if key == "type" else Sign.NAMED) if known else Sign.WORDS
        return self._begins(found[2], wanted | {f"functions.{each}" for each in wanted})

    def _begins(self, text: str, wanted: frozenset[str]) -> Sign:
        return Sign.OPEN if any(each.startswith(text) for each in wanted) else Sign.WORDS

    def end(self, *, cut: bool) -> Found | None:
        """The calls that the held text is; None: it is words. `cut`: it had no room to end by itself, so it is words,
        whose finish reason says that they are not all: half a call must not look like a whole one.

        UpstreamError for what is a call and cannot be read, or calls what was not offered.
        """
        if cut or self._sign in (Sign.WORDS, Sign.OPEN):
            return None
        return self._marked() if self._sign is Sign.MARKED else self._unmarked()

    def _marked(self) -> Found:
        try:
            found = read_marked(self._mark, self.held)
        except Unreadable as error:
            raise unreadable(self.held, str(error)) from None
        for each in found.calls:
            if each.name not in self._offer.names:
                raise misnamed(each.name)
        return found

    def _unmarked(self) -> Found | None:
        if not self._python and not _ARGUMENTS.search(self.held):
            return None
        try:
            calls = read_bare(self.held)
        except MoreSaid:
            return None
        except Unreadable as error:
            if self._sign is Sign.LIKELY:
                return None
            raise unreadable(self.held, str(error)) from None
        if not calls or any(each.name not in self._offer.names for each in calls):
            return None
        return Found(calls)
