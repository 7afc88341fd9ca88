"""Tool calls in order: servers write the pieces of calls in many ways, and dialects can tell them in one.

What comes out: calls are numbered from 0; a call's first piece has its id and its name, each whole and once, the others
have arguments only; and the pieces of a call come one after the other. What comes between them (words, another call)
waits until the arguments are complete, at the latest until the answer is: in most dialects no call overlaps with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from lanhaven.dialects.delta import ChunkChoice, Delta, FunctionDelta, ToolCallDelta

_object = msgspec.json.Decoder(dict).decode


@dataclass(slots=True, eq=False)
class _Call:
    """A call while it is written. arguments: the pieces so far; untold: those that wait for the name."""

    number: int
    call_id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)
    untold: str = ""

    @property
    def complete(self) -> bool:
        try:
            _object("".join(self.arguments))
        except msgspec.DecodeError:
            return False
        return True


class _Item(NamedTuple):
    """Something to be told. call: whose piece it is; None: words or thoughts."""

    call: _Call | None
    delta: Delta


class CallOrder:
    """The calls of one answer."""

    __slots__ = ("_by_index", "_calls", "_held", "_open")

    def __init__(self) -> None:
        self._by_index: dict[int, _Call] = {}  # the latest one of each index
        self._calls: list[_Call] = []
        self._open: _Call | None = None  # the one that was told last
        self._held: list[_Item] = []

    def put(self, choice: ChunkChoice) -> list[Delta]:
        """What may be told now of what this chunk and those before it said."""
        delta = choice.delta
        items: list[_Item] = []
        if delta.content or delta.thought:
            words = Delta(delta.content, delta.reasoning_content, delta.reasoning)
            items.append(_Item(None, words))
        items += (item for piece in delta.tool_calls or () if (item := self._item(piece)) is not None)
        told = [each for item in items for each in self._take(item)]
        return told + self.rest() if choice.finish_reason else told

    def rest(self) -> list[Delta]:
        """What is left at the end of the answer."""
        for call in self._calls:
            if call.name is None:  # dialects say what they think of it
                call.name = ""
                self._held.append(_Item(call, _first(call)))
        return self._release(final=True)

    def _item(self, piece: ToolCallDelta) -> _Item | None:
        """The piece of a call, in our form; None while its name is not known."""
        call = self._call(piece)
        function = piece.function
        text = (function.arguments if function is not None else None) or ""
        call.arguments.append(text)
        if call.name is not None:
            return _Item(call, _delta(ToolCallDelta(call.number, None, FunctionDelta(None, text)))) if text else None
        call.untold += text
        call.call_id = call.call_id or piece.id
        if function is None or not function.name:
            return None
        call.name = function.name
        return _Item(call, _first(call))

    def _call(self, piece: ToolCallDelta) -> _Call:
        """Some servers give every call the index 0, and some tell the id with every piece."""
        known = self._by_index.get(piece.index)
        if known is None or (piece.id and known.call_id and piece.id != known.call_id):
            known = self._by_index[piece.index] = _Call(len(self._calls))
            self._calls.append(known)
        return known

    def _take(self, item: _Item) -> list[Delta]:
        if item.call is not None and item.call is self._open:
            return [item.delta, *self._release()]
        if self._held or (self._open is not None and not self._open.complete):
            self._held.append(item)
            return []
        self._open = item.call
        return [item.delta]

    def _release(self, *, final: bool = False) -> list[Delta]:
        """What waited, as far as it need not wait any longer."""
        told: list[Delta] = []
        while self._held and (final or self._open is None or self._open.complete):
            call = self._open = self._held[0].call
            count = 1 if call is None else len(self._held)
            told += (each.delta for each in self._held[:count] if each.call is call)
            self._held = [each for each in self._held[:count] if each.call is not call] + self._held[count:]
        return told


def _first(call: _Call) -> Delta:
    return _delta(ToolCallDelta(call.number, call.call_id, FunctionDelta(call.name, call.untold)))


def _delta(piece: ToolCallDelta) -> Delta:
    return Delta(tool_calls=[piece])
