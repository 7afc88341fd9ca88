"""The JSON of one answer to tools that were told in words, read back as it grows. Pure: text in, pieces out.

{"content": "..."} becomes words, {"tool_calls": [{"name": ..., "arguments": {...}}]} calls, whose arguments are passed
on as they are written. An answer of neither form, from a server that does not hold its model to a schema, is read by
`watching` as that of any other.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto

import msgspec

from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.pieces import Piece, begun, misnamed, more, unreadable
from lanhaven.dialects.tools.telling import key_of

_SPACE = re.compile(r"\s+")
_CONTENT = re.compile(r'\s*\{\s*"content"\s*:\s*(?=\S)')
_CALLS = re.compile(r'\s*\{\s*"tool_calls"\s*:\s*\[')
_NAME_FIRST = re.compile(r'\s*,?\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')
_OTHER_FIRST = re.compile(
    r'\s*,?\s*\{\s*"(?!name")[^"]*"'
    r'|\s*,?\s*\{\s*"name"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*"(?!arguments")[^"]*"'
)
_LIST_ENDS = re.compile(r"\s*\]")
_CALL_ENDS = re.compile(r"\s*\}")
_FORMS = ('{"content":', '{"tool_calls":[')
# The part of a JSON string that can be read already: no half escape, no first half of a surrogate pair.
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[0-9a-fA-F]{4}|(?=[^\\]|\\[^u])))*"
)
_IN_STRING = re.compile(r'["\\]')
_OUTSIDE = re.compile(r'[{}\[\]",\s]')


class _At(Enum):
    """What the next characters are."""

    START = auto()
    WORDS = auto()  # of a string
    VALUE = auto()  # JSON that is the answer in words
    CALL = auto()  # the next call, or the end of the list
    ARGUMENTS = auto()
    CALL_END = auto()
    LATE = auto()  # calls in another order of their fields: they are read when all is there
    OTHER = auto()  # not what was asked for
    END = auto()


class ValueEnd:
    """Finds where a JSON value ends. The first character it is fed is the value's first."""

    __slots__ = ("_depth", "_escaped", "_quoted", "over")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = self._escaped = False
        self.over = False

    def feed(self, text: str) -> int:
        """How many of these characters belong to the value."""
        at = 0
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_IN_STRING if self._quoted else _OUTSIDE).search(text, at)
            if found is None:
                return len(text)
            if self._ends_before(found[0]):
                return found.start()
            at = found.end()
            self._take(found[0])
            if self.over:
                return at
        return at

    def _ends_before(self, mark: str) -> bool:
        """A number, true, false or null is over when something else begins."""
        self.over = not self._quoted and self._depth == 0 and mark not in '{["'
        return self.over

    def _take(self, mark: str) -> None:
        if self._quoted:
            self._escaped = mark == "\\"
            self._quoted = self._escaped
        elif mark == '"':
            self._quoted = True
            return
        else:
            self._depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark, 0)
        self.over = not self._quoted and self._depth == 0


class ToldReader:
    """One answer. `other`: it is not what was asked for, and nothing of it was told; `rest` is all of it.

    repeated: names of tools whose calls were left out, because they were answered already. calls: how many were told.
    """

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._at = _At.START
        self.rest = ""
        self.calls = 0
        self.words = False
        self.repeated: set[str] = set()
        self._name = ""
        self._value = ValueEnd()
        self._arguments: list[str] = []

    @property
    def other(self) -> bool:
        return self._at is _At.OTHER

    def feed(self, text: str) -> list[Piece]:
        """What can be told now. UpstreamError for a call that is none."""
        self.rest += text
        pieces: list[Piece] = []
        while self._step(pieces):
            pass
        return pieces

    def _step(self, pieces: list[Piece]) -> bool:
        """Read on; False once more text is needed."""
        match self._at:
            case _At.START:
                return self._start()
            case _At.WORDS:
                return self._more_words(pieces)
            case _At.VALUE | _At.ARGUMENTS:
                return self._more_value(pieces)
            case _At.CALL:
                return self._call(pieces)
            case _At.CALL_END:
                return self._skip(_CALL_ENDS, _At.CALL)
            case _:
                return False

    def _skip(self, pattern: re.Pattern[str], then: _At) -> bool:
        found = pattern.match(self.rest)
        if found is None:
            return False
        self.rest, self._at = self.rest[found.end() :], then
        return True

    def _start(self) -> bool:
        if self._skip(_CALLS, _At.CALL):
            return True
        found = _CONTENT.match(self.rest)
        if found is not None:
            quoted = self.rest[found.end()] == '"'
            if self._offer.formatted:
                return self._skip(_CONTENT, _At.VALUE)
            if quoted:
                self.rest, self._at = self.rest[found.end() + 1 :], _At.WORDS
                return True
            self._at = _At.OTHER
        tight = _SPACE.sub("", self.rest)
        if not any(form.startswith(tight[: len(form)]) for form in _FORMS):
            self._at = _At.OTHER
        return False

    def _more_words(self, pieces: list[Piece]) -> bool:
        whole = _WHOLE.match(self.rest)
        end = whole.end() if whole is not None else 0
        words, self.rest = self.rest[:end], self.rest[end:]
        if words:
            self.words = True
            pieces.append(_unescaped(words))
        if self.rest.startswith('"'):
            self._at = _At.END
        return False

    def _more_value(self, pieces: list[Piece]) -> bool:
        end = self._value.feed(self.rest)
        text, self.rest = self.rest[:end], self.rest[end:]
        if self._at is _At.VALUE:
            self.words = self.words or bool(text)
            pieces += [text] if text else []
            self._at = _At.END if self._value.over else _At.VALUE
            return False
        if text:
            self._arguments.append(text)
            if not self._held:
                pieces.append(more(self.calls - 1, text))
        if not self._value.over:
            return False
        self._end_call(pieces)
        self._at = _At.CALL_END
        return True

    # ---- calls

    @property
    def _held(self) -> bool:
        """Whether the call may turn out to be one that was answered already."""
        return any(name == self._name for name, _ in self._offer.done)

    def _call(self, pieces: list[Piece]) -> bool:
        if self._skip(_LIST_ENDS, _At.END) or (self._offer.one and self.calls):
            self._at = _At.END
            return False
        found = _NAME_FIRST.match(self.rest)
        if found is None:
            self._at = _At.LATE if _OTHER_FIRST.match(self.rest) else self._at
            return False
        self.rest, self._at = self.rest[found.end() :], _At.ARGUMENTS
        self._name, self._value, self._arguments = _string(found[1]), ValueEnd(), []
        if self._name not in self._offer.names:
            raise misnamed(self._name)
        if not self._held:
            self._begin(pieces)
        return True

    def _begin(self, pieces: list[Piece]) -> None:
        pieces.append(begun(self.calls, self._name))
        self.calls += 1

    def _end_call(self, pieces: list[Piece]) -> None:
        """The arguments are all there: a held call is told, or left out."""
        text = "".join(self._arguments)
        _check_arguments(text)
        if not self._held:
            return
        if key_of(self._name, text) in self._offer.done:
            self.repeated.add(self._name)
            return
        self._begin(pieces)
        pieces.append(more(self.calls - 1, text))

    def end(self, *, cut: bool) -> list[Piece]:
        """What is left at the end of the answer. `cut`: it had no room to end by itself. UpstreamError if it is over
        in the middle though it had."""
        pieces: list[Piece] = []
        if cut or self._at in (_At.END, _At.OTHER, _At.CALL_END):
            return pieces
        if self._at is _At.LATE:
            self._read_late(pieces)
        elif self._at is not _At.START and not (self._at is _At.CALL and self.calls):
            raise unreadable(self.rest, "it ends in the middle")
        return pieces

    def _read_late(self, pieces: list[Piece]) -> None:
        try:
            listed = msgspec.json.decode('{"tool_calls":[' + self.rest.lstrip().removeprefix(","))["tool_calls"]
            found = [(str(each["name"]), msgspec.json.encode(each["arguments"]).decode()) for each in listed]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise unreadable(self.rest, "it is no JSON of the form that was asked for") from None
        for name, arguments in found[:1] if self._offer.one else found:
            if name not in self._offer.names:
                raise misnamed(name)
            self._name, self._arguments = name, [arguments]
            if not self._held:
                self._begin(pieces)
                pieces.append(more(self.calls - 1, arguments))
            self._end_call(pieces)


def _check_arguments(text: str) -> None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise unreadable(text, "its arguments are no JSON") from None
    if not isinstance(value, dict):
        raise unreadable(text, "its arguments are no object")


def _string(quoted: str) -> str:
    text: str = json.loads(quoted, strict=False)
    return text


def _unescaped(words: str) -> str:
    """The text of a JSON string. Line breaks that stand in it as they are pass; half pairs become U+FFFD."""
    text: str = json.loads(f'"{words}"', strict=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
