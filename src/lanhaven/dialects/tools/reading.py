"""One answer to an offer of tools, read choice by choice; and the promise that a required call comes.

`ChoiceReader` gives back what it was given wherever nothing has to change, so a dialect that passes bytes on can go on
doing so. `read` is for dialects that translate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

import msgspec

from lanhaven.dialects.chunks import Chunk, ChunkChoice, Delta, ToolCallDelta, blocks, chunks
from lanhaven.dialects.tools.families import Found
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.pieces import Piece, begun, misnamed, missing, more
from lanhaven.dialects.tools.told import ToldReader
from lanhaven.dialects.tools.watching import Watch
from lanhaven.errors import GatewayError
from lanhaven.inference import Inference
from lanhaven.upstream.exchange import Exchange

T = TypeVar("T")

CUT = frozenset({"length", "content_filter", "model_length"})  # finish reasons that excuse what is missing


class ChoiceReader(Generic[T]):
    """One choice of an answer. Each of its chunks comes with what stands for it (T: a chunk, the bytes of a frame);
    what comes out is that again, or a choice that was made anew.

    repeated: tools whose calls were left out because they were answered before, where nothing else was said.
    """

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._told = ToldReader(offer) if offer.told else None
        self._watch = Watch(offer)
        self._held: list[T] = []
        self._pending = ""  # text of a told answer that is not what was asked for
        self._first: tuple[int, str | None] | None = None  # number and id of the first call that came as one
        self._made = 0  # calls that were read from text
        self.repeated: frozenset[str] = frozenset()

    def feed(self, choice: ChunkChoice, item: T) -> list[T | ChunkChoice]:
        """What the chunk becomes. UpstreamError if the answer cannot be what was asked for."""
        if self._told is not None:
            return self._from_told(self._told, choice)
        return self._from_text(choice, item)

    # ---- tools that were told

    def _from_told(self, told: ToldReader, choice: ChunkChoice) -> list[T | ChunkChoice]:
        delta, finish = choice.delta, choice.finish_reason
        pieces: list[Piece] = told.feed(delta.content) if delta.content else []
        if finish is not None:
            pieces += told.end(cut=finish in CUT)
        if told.other:
            pieces += self._from_other(told, finish)
        self._made = max(self._made, told.calls)
        if finish is not None and self._is_repeated(told):
            self.repeated = frozenset(told.repeated)
            return []
        made = [_said(each) for each in pieces]
        if delta.thought:
            made.insert(0, ChunkChoice(delta=Delta(reasoning_content=delta.thought)))
        if finish is not None:
            made.append(ChunkChoice(finish_reason=self._finished(finish), logprobs=choice.logprobs))
        return _numbered(made, choice.index)

    def _is_repeated(self, told: ToldReader) -> bool:
        return bool(told.repeated) and not told.calls and not told.words

    def _from_other(self, told: ToldReader, finish: str | None) -> list[Piece]:
        """An answer that is not the JSON that was asked for: another server's, which does not hold to schemas."""
        text, told.rest = told.rest, ""
        self._pending += text
        if finish is None:
            if not text or not self._watch.feed(text):
                return []
            text, self._pending = self._pending, ""
            return [text]
        if text:
            self._watch.feed(text)
        found = self._watch.end(cut=finish in CUT)
        if found is None:
            return [self._pending] if self._pending else []
        return [*filter(None, [self._watch.before]), *self._pieces(found)]

    # ---- tools that the template knows

    def _from_text(self, choice: ChunkChoice, item: T) -> list[T | ChunkChoice]:
        delta, finish = choice.delta, choice.finish_reason
        if delta.tool_calls:
            self._watch.give_up()
            kept = [each for each in delta.tool_calls if self._is_wanted(each)]
            if len(kept) < len(delta.tool_calls):
                if finish is None and not kept:
                    return []
                fewer = Delta(delta.content, delta.reasoning_content, delta.reasoning, kept or None)
                self._finished(finish or "stop")
                return [*self._released(), ChunkChoice(choice.index, fewer, None, finish, choice.logprobs)]
        passes = not delta.content or self._watch.feed(delta.content)
        if finish is not None:
            return self._ended(choice, item, finish)
        self._held.append(item)
        return self._released() if passes and not self._holds else []

    def left(self, index: int) -> list[T | ChunkChoice]:
        """What is held back of choice `index`, where the answer broke off: it could have become a call, and is words
        now. Nothing of a call that could not be read."""
        text, self._pending = self._pending, ""
        return [*self._released(), *_numbered([_said(text)] if text else [], index)]

    @property
    def idle(self) -> bool:
        """Whether whatever still comes passes as it is."""
        offer = self._offer
        return not (offer.told or offer.must or offer.one or self._held) and self._watch.settled

    @property
    def _holds(self) -> bool:
        """Whether text is held back: nothing may overtake it."""
        return not self._watch.settled and bool(self._watch.held)

    def _released(self) -> list[T | ChunkChoice]:
        held, self._held = self._held, []
        return [*held]

    def _ended(self, choice: ChunkChoice, item: T, finish: str) -> list[T | ChunkChoice]:
        held = self._released()
        found = self._watch.end(cut=finish in CUT)
        if found is None:
            self._finished(finish)
            return [*held, item]
        words = self._watch.before
        made = [ChunkChoice(delta=Delta(content=words))] if words else []
        made += [_said(each) for each in self._pieces(found)]
        made.append(ChunkChoice(finish_reason=self._finished(finish)))
        return _numbered(made, choice.index)

    def _is_wanted(self, call: ToolCallDelta) -> bool:
        """Whether a piece belongs to a call that may be made: the first one, where one is allowed."""
        if self._first is None:
            self._first = call.index, call.id
        name = call.function.name if call.function is not None else None
        if self._offer.must and name and name not in self._offer.names:
            raise misnamed(name)
        # some servers give every call the index 0
        return not self._offer.one or (call.index == self._first[0] and call.id in (None, "", self._first[1]))

    def _pieces(self, found: Found) -> Iterable[Piece]:
        for name, arguments in found.calls[:1] if self._offer.one else found.calls:
            yield begun(self._made, name)
            yield more(self._made, arguments)
            self._made += 1
        if found.after:
            yield found.after

    def _finished(self, finish: str) -> str:
        """The finish reason. UpstreamError if a call was required, could have come, and did not."""
        if self._offer.must and not self._made and self._first is None and finish not in CUT:
            raise missing()
        return "tool_calls" if self._made and finish not in CUT else finish


def _numbered(made: list[ChunkChoice], index: int) -> list[T | ChunkChoice]:
    for each in made:
        each.index = index
    return [*made]


def _said(piece: Piece) -> ChunkChoice:
    delta = Delta(content=piece) if isinstance(piece, str) else Delta(tool_calls=[piece])
    return ChunkChoice(delta=delta)


async def read(offer: Offer | None, inference: Inference, exchange: Exchange) -> AsyncIterator[Chunk]:
    """The chunks of an answer, its calls among them. `exchange.outcome` fills on the way. No offer: as they come.

    A model that was told of tools and only makes a call that was answered already is asked once more, without that
    tool: small models would make the same call for ever.
    """
    if offer is None:
        async for chunk in chunks(exchange):
            yield chunk
        return
    readers: _Readers = {}
    async for chunk in _turned(offer, readers, exchange):
        yield chunk
    repeated = frozenset().union(*(each.repeated for each in readers.values()))
    if not repeated:
        return
    left = replace(offer.without(repeated), done=frozenset())
    body = inference.request.body | {"response_format": left.format()}
    spent = exchange.outcome.usage.completion_tokens
    another = await inference.again(body)
    async for chunk in _turned(left, {}, another):
        yield chunk
    usage = another.outcome.usage
    exchange.outcome.finish_reason = another.outcome.finish_reason
    exchange.outcome.usage = msgspec.structs.replace(usage, completion_tokens=usage.completion_tokens + spent)
    another.outcome.usage = exchange.outcome.usage


def read_blocks(offer: Offer | None, inference: Inference, exchange: Exchange) -> AsyncIterator[list[Chunk]]:
    """As `read`, those together that came together: what is made of them is sent together."""
    return blocks(exchange) if offer is None else _one_by_one(read(offer, inference, exchange))


async def _one_by_one(chunks: AsyncIterator[Chunk]) -> AsyncIterator[list[Chunk]]:
    async for chunk in chunks:
        yield [chunk]


_Readers = dict[int, ChoiceReader[Chunk]]


async def _turned(offer: Offer, readers: _Readers, exchange: Exchange) -> AsyncIterator[Chunk]:
    """Chunks as their readers turn them; none any more once the answer turned out to be a call that was left out."""
    try:
        async for chunk in chunks(exchange):
            out: list[Chunk | ChunkChoice] = []
            for choice in chunk.choices:
                reader = readers.setdefault(choice.index, ChoiceReader(offer))
                out += reader.feed(choice, chunk if len(chunk.choices) == 1 else Chunk(choices=[choice]))
            if any(each.repeated for each in readers.values()):
                continue
            if not chunk.choices or (_tells_more(chunk) and not any(each is chunk for each in out)):
                yield Chunk([], chunk.usage, chunk.timings, chunk.prompt_progress, chunk.verbose)
            for each in out:
                yield _chunk(each)
    except GatewayError:
        for left in (each for index, reader in readers.items() for each in reader.left(index)):
            yield _chunk(left)
        raise


def _chunk(made: Chunk | ChunkChoice) -> Chunk:
    return made if isinstance(made, Chunk) else Chunk(choices=[made])


def _tells_more(chunk: Chunk) -> bool:
    """Whether a chunk says anything besides its choices."""
    return not (chunk.usage is chunk.timings is chunk.prompt_progress is chunk.verbose is None)
