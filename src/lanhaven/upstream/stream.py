"""What a streamed reply says about itself. Pure: bytes in, whole frames out, and a verdict on how the stream ended.

The transport does not decide: an upstream may end its body properly after half a frame, or without having finished
(F-033, F-035). These do:

| the stream | the verdict |
|---|---|
| `data: [DONE]` | success; whatever follows is dropped (F-036) |
| ends, every choice has its finish_reason, no [DONE] | success, the [DONE] is added (F-034) |
| ends or breaks before that, half a frame or not | UpstreamError (F-031 to F-033, F-035, F-045) |
| an object with a true `error`, `event: error`, an `error:` line | that error (F-043) |
| data that is not JSON, or is JSON but no object | UpstreamError (F-044) |
| a chunk with `choices: []` | passes, except to a client that did not ask for usage: it is dropped |
| a chunk for choices that have finished | dropped: the first finish_reason stands (F-036) |
| an object without `choices`; comments; other fields and events | pass unchanged |
| a frame longer than 4 MiB | UpstreamError (F-040) |
"""

from __future__ import annotations

from enum import Enum, auto

from lanhaven.errors import GatewayError, UpstreamError
from lanhaven.types.chat import Outcome
from lanhaven.upstream.foreign import from_frame
from lanhaven.upstream.reading import NOTHING, REFUSED, Choice, Message, Unreadable, decode, loads, note_usage, read
from lanhaven.wire import DONE, FrameSplitter, data_of, frames_of

_DONE_MARK = b"[DONE]"


class _Frame(Enum):
    """What to do with one frame."""

    PASS = auto()
    DROP = auto()
    LAST = auto()
    FAIL = auto()


# Names of the module: reaching a member through its Enum costs 0.1 us, and each chunk needs several.
_PASS, _DROP, _LAST, _FAIL = _Frame
_ONE_FRAME = b"data: {"


class ReplyStream:
    """Reads one streamed reply. `over`: nothing more will pass, and `failure` says why if it is not success.

    `pieces`: chunks that went on with an answer. Engines write one for each token, nearly.
    """

    __slots__ = ("_ended", "_going", "_model", "_splitter", "_started", "drop_usage", "failure", "outcome", "over",
                 "pieces")  # fmt: skip

    def __init__(self, outcome: Outcome, model: str, *, drop_usage: bool) -> None:
        self.outcome = outcome
        self.drop_usage = drop_usage
        self.over = False
        self.failure: GatewayError | None = None
        self._model = model
        self._splitter = FrameSplitter()
        self._started = self._ended = 0  # choices seen and finished: bit sets by index
        self._going = False  # the first choice is the only one, and goes on
        self.pieces = 0

    @property
    def finished(self) -> bool:
        """Whether every choice that began has its finish_reason."""
        return self._started != 0 and self._started == self._ended

    def feed(self, data: bytes) -> bytes:
        """The whole frames among what has come so far, as they came; b"" if there is none. Never raises."""
        if self.over:
            return b""
        try:
            block = self._splitter.feed(data)
        except ValueError:
            return self._fail(UpstreamError("The model's server sent a frame longer than 4 MiB."))
        return self._filter(block) if block else b""

    def end(self, error: GatewayError | None = None) -> bytes:
        """The body has ended, badly if `error` is given. Returns what is missing of a success, else sets `failure`."""
        if self.over:
            return b""
        rest = self._splitter.rest.strip()
        self.over = True
        if self.finished or _is_done(rest):
            return DONE
        if error is None:
            where = "in the middle of a frame" if rest else "before the answer was finished"
            error = UpstreamError(f"The model's server ended its reply {where}.")
        return self._fail(error)

    def _fail(self, error: GatewayError) -> bytes:
        self.over = True
        self.failure = error
        return b""

    def _filter(self, block: bytes) -> bytes:
        alone = block.find(b"\n\n") + 2 == len(block) and block.startswith(_ONE_FRAME)
        frames = [block] if alone else frames_of(block)
        kept: list[bytes] | None = None  # made once the block is no longer passed as it came
        for position, frame in enumerate(frames):
            verdict = self._read(frame)
            if verdict is _PASS:
                if kept is not None:
                    kept.append(frame)
                continue
            if kept is None:
                kept = frames[:position]
            if verdict is _DROP:
                continue
            self.over = True
            if verdict is _LAST:
                kept.append(frame)
            break
        return block if kept is None else b"".join(kept)

    def _read(self, frame: bytes) -> _Frame:
        if not frame.startswith(_ONE_FRAME):
            return self._read_oddity(frame)
        try:
            message = decode(frame[6:])
        except REFUSED:
            return self._read_oddity(frame)
        choices = message.choices
        if (  # the usual chunk: one choice, going on
            choices
            and len(choices) == 1
            and self._going
            and not choices[0].finish_reason
            and not choices[0].index
            and message.usage is None
            and message.timings is None
            and message.error is NOTHING
        ):
            self.pieces += 1
            return _PASS
        return self._judge(message, frame)

    def _judge(self, message: Message, frame: bytes) -> _Frame:
        if message.error is not NOTHING and loads(message.error):
            self.failure = from_frame(data_of(frame) or b"", self._model)
            return _FAIL
        if message.usage is not None or message.timings is not None:
            note_usage(message, self.outcome)
        if message.choices is None:
            return _PASS
        news = False
        for choice in message.choices:
            news = self._follow(choice) or news
        return _PASS if news or not (message.choices or self.drop_usage) else _DROP

    def _follow(self, choice: Choice) -> bool:
        """Note how a choice goes on; False if it had finished before."""
        bit = 1 << (choice.index & 63)
        if self._ended & bit:
            return False
        if self._started & bit and not choice.finish_reason:  # the first chunk of many engines is but a role
            self.pieces += 1
        self._started |= bit
        if choice.finish_reason:  # some servers write "" for "not yet"
            self._ended |= bit
            if self.outcome.finish_reason is None or choice.index == 0:
                self.outcome.finish_reason = choice.finish_reason
        self._going = self._started == 1 and not self._ended
        return True

    def _read_oddity(self, frame: bytes) -> _Frame:
        """Anything but one line `data: {...}`."""
        data = data_of(frame)
        if _names_error(frame):
            self.failure = from_frame(_error_of(frame) if data is None else data, self._model)
            return _FAIL
        if data is None or not data.strip():
            return _PASS
        if data.strip().startswith(_DONE_MARK):
            return _LAST
        try:
            message = read(data)
        except Unreadable:
            self.failure = UpstreamError("The model's server sent a frame that is no JSON object.")
            return _FAIL
        return self._judge(message, frame)


def _is_done(rest: bytes) -> bool:
    """Whether the last frame, left without its blank line, is the terminator."""
    data = data_of(rest)
    return data is not None and data.strip() == _DONE_MARK


def _names_error(frame: bytes) -> bool:
    return any(
        line.startswith(b"error:") or (line.startswith(b"event:") and line[6:].strip() == b"error")
        for line in frame.splitlines()
    )


def _error_of(frame: bytes) -> bytes:
    """The value of the `error:` line, as old llama.cpp servers write it."""
    for line in frame.splitlines():
        if line.startswith(b"error:"):
            return line[6:].strip()
    return b""
