"""How a chat is streamed, and what is known of it so far. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lanhaven.client._chat_types import ChatCompletionChunk
from lanhaven.client._errors import StreamingFailed
from lanhaven.client._fold import Fold
from lanhaven.client._frames import DONE, Frame
from lanhaven.client._protocol import Call, error_of
from lanhaven.client._settings import ClientSettings
from lanhaven.errors import GatewayError, UpstreamError

Downgraded = Callable[[GatewayError | None], None]


@dataclass(slots=True)
class ChatStreamState:
    """`downgraded`: the answer was asked for in one piece, because streaming failed or is switched off."""

    call: Call
    whole: Call  # the same, not streamed
    settings: ClientSettings
    fallback: bool = False
    on_downgraded: Downgraded | None = None
    downgraded: bool = False
    fold: Fold = field(default_factory=Fold)

    @property
    def attempts(self) -> int:
        """How many streams to try (S3-x6): one, one more where there is a fallback, none where they are off."""
        if not self.settings.enable_streaming:
            return 0
        return 2 if self.fallback else 1

    def chunk(self, frame: Frame) -> ChatCompletionChunk | None:
        """The chunk in a frame, None at the good end. GatewayError for an error frame."""
        if frame.data == DONE:
            return None
        value = frame.object()
        if value.get("error") or frame.event == "error":
            raise error_of(200, value, self.call, self.settings)
        try:
            found = ChatCompletionChunk.read(value)
        except UpstreamError as error:
            raise StreamingFailed(error.message) from None
        self.fold.add(found)
        return found

    def check_end(self, *, done: bool) -> None:
        """StreamingFailed if the stream ended without having said that it did."""
        if not done and not self.fold.finished:
            raise StreamingFailed("The stream ended before the answer did.")

    def downgrade(self, reason: GatewayError | None) -> None:
        """From here on it is one whole answer; `reason` None: streaming is switched off."""
        self.downgraded = True
        if self.on_downgraded is not None:
            self.on_downgraded(reason)
