"""Makes the prompt of one request fit the instance that refused it, where somebody wants that; the instance's engine
does the counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lanhaven.context import Message, number, scaled, shortened, truncated
from lanhaven.errors import ContextLengthExceeded, UpstreamError
from lanhaven.residency.lease import Lease
from lanhaven.types.chat import Dropped, InferenceRequest, Route
from lanhaven.types.models import Overflow
from lanhaven.upstream.pool import UpstreamClient
from lanhaven.upstream.reading import loads
from lanhaven.wire import encode

TRIES = 8  # an estimate may be wrong; each refusal comes with a better number
# What a count does not take: llama.cpp reads the rest of a chat as it would to answer it.
_NOT_COUNTED = frozenset({"stream", "stream_options", "max_tokens", "max_completion_tokens", "n"})


@dataclass(slots=True)
class Fitting:
    """`dropped` is what was left out so far; None: nothing."""

    client: UpstreamClient
    lease: Lease
    request: InferenceRequest
    dropped: Dropped | None = None
    _tries: int = 0
    _asked: list[int] = field(default_factory=list)  # tokens that the upstream said the prompt had, each time

    @property
    def policy(self) -> Overflow:
        """The client's wish, else the instance's default, else what the client's API does where nothing is said."""
        return self.request.overflow or self.lease.sampling.context_overflow or self.request.overflow_else

    async def shorten(self, error: ContextLengthExceeded) -> bool:
        """Shorten the request's body. False if nobody wants it, or it cannot become short enough."""
        request, policy = self.request, self.policy
        context = number(error, "n_ctx") or self.lease.load_config.context_length
        asked = number(error, "n_prompt_tokens")
        answer_alone = asked is not None and context is not None and asked < context
        if context is None or answer_alone or self._tries >= TRIES:
            return False
        self._tries += 1
        self._asked += [asked] if asked is not None else []
        match request.route, policy:
            case Route.CHAT, Overflow.DROP_OLDEST | Overflow.DROP_MIDDLE:
                return await self._drop(policy, context, asked)
            case Route.EMBEDDING, Overflow.TRUNCATE if Route.TOKENIZE in self.lease.upstream.routes:
                return await self._cut(context)
            case _:
                return False

    async def _drop(self, policy: Overflow, context: int, asked: int | None) -> bool:
        body = self.request.body
        exact = Route.INPUT_TOKENS in self.lease.upstream.routes
        count = self._count if exact else scaled(body["messages"], asked or 2 * context)
        found = await shortened(body["messages"], body, policy, context, count)
        if found is None:
            return False
        body["messages"] = found.messages
        before = self.dropped.messages if self.dropped is not None else 0
        tokens = self._asked[0] - found.tokens if exact and self._asked else None
        self.dropped = Dropped(before + found.gone, tokens)
        return True

    async def _count(self, messages: Sequence[Message]) -> int:
        body = {name: value for name, value in self.request.body.items() if name not in _NOT_COUNTED}
        count = (await self._ask(Route.INPUT_TOKENS, body | {"messages": messages})).get("input_tokens")
        if not isinstance(count, int):
            raise UpstreamError("The model's server does not say how long the prompt is.")
        return count

    async def _cut(self, context: int) -> bool:
        body = self.request.body
        body["input"], gone = await truncated(body["input"], context, self._tokenize)
        self.dropped = Dropped(0, gone)
        return gone > 0

    async def _tokenize(self, text: str, marked: bool) -> list[int]:
        asked = {"content": text, "add_special": marked, "parse_special": True}
        tokens = (await self._ask(Route.TOKENIZE, asked)).get("tokens")
        if not isinstance(tokens, list):
            raise UpstreamError("The model's server sent no tokens.")
        return tokens

    async def _ask(self, route: Route, body: Mapping[str, Any]) -> Mapping[str, Any]:
        exchange = await self.client.send(self.lease.upstream, route, encode(body), stream=False)
        try:
            reply = loads(await exchange.body())
        finally:
            exchange.close()
        return reply if isinstance(reply, dict) else {}
