"""One accepted request on its way: resolve the name -> lease an instance -> fill in its defaults -> one HTTP exchange.

It emits `inference_start` and exactly one of `inference_complete` and `error`, whatever ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from lanhaven.admission import Admission, Everybody
from lanhaven.capable import check_route, check_sight
from lanhaven.catalog import Catalog, Target
from lanhaven.context import Served, about, explained
from lanhaven.errors import (
    CapacityError,
    ContextLengthExceeded,
    EngineCrashed,
    GatewayError,
    InternalError,
    ProviderUnavailable,
    QueueFull,
    UnsupportedFeature,
    UpstreamError,
)
from lanhaven.events import EventBus, Failure, InferenceComplete
from lanhaven.fitting import Fitting
from lanhaven.media.images import Images
from lanhaven.media.slots import find
from lanhaven.residency.pool import Lease, Pool
from lanhaven.residency.refusals import discreet
from lanhaven.told import completed, failed, started
from lanhaven.types.chat import BEYOND_OPENAI, DECLARED, Dropped, InferenceRequest, Outcome, Timing, Usage
from lanhaven.types.images import Sizing
from lanhaven.types.models import ModelInfo, Overflow
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.pool import UpstreamClient
from lanhaven.upstream.preparing import prepare
from lanhaven.upstream.via import onward

# With these an upstream says that it has done nothing: the model is not there (any more), too many requests, not ready.
# Not 502 and 504: behind such an upstream somebody may be at work, and to ask again would do the work twice.
NOT_TAKEN = frozenset({404, 429, 503})


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Seconds. A streaming client is kept alive by comments, so it may wait longer for its turn."""

    queue_wait: float = 60.0
    queue_wait_stream: float = 600.0
    crash_grace: float = 0.25  # how long a broken connection waits for its engine's death certificate
    own_crash_grace: float = 2.0  # the same for an engine of ours that sent no status: it is all but certain to be dead


@dataclass(frozen=True, slots=True)
class InferenceContext:
    """What every request is served with, and the requests that run."""

    catalog: Catalog
    pool: Pool
    client: UpstreamClient
    bus: EventBus
    limits: GatewayLimits
    clock: Callable[[], float]
    images: Images
    admission: Admission = Everybody()
    running: set[Inference] = field(default_factory=set)


class Inference:
    """One accepted request, from its start event to its single terminal event.

    Leaving the context, for whatever reason, closes the upstream and gives the instance back before anything else.
    """

    __slots__ = (
        "_asked",
        "_context",
        "_error",
        "_exchange",
        "_lease",
        "_pictured",
        "_waiting",
        "_wanted",
        "dropped",
        "request",
        "timing",
    )

    def __init__(self, context: InferenceContext, request: InferenceRequest) -> None:
        self._context = context
        self._lease: Lease | None = None
        self._exchange: Exchange | None = None
        self._error: GatewayError | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._wanted: str | None = None  # key of the model, once its name is resolved
        self._pictured = False  # whether the request has images
        self._asked = request.model
        self.request = request
        self.timing = Timing(accepted=context.clock())
        self.dropped: Dropped | None = None  # what of the prompt was left out, known once it is open

    async def __aenter__(self) -> Self:
        request = self.request
        images = find(request.body)
        self._pictured = bool(images)
        self._context.running.add(self)
        self._context.bus.emit(started(request, self._asked, len(images)))
        return self

    async def open(self) -> Exchange:
        """Get an instance, send the request, and return once the reply has begun.

        An instance whose upstream took nothing of the request rests, and the next one is asked: never after a byte of
        a reply. One that turned out to be gone is replaced once.
        """
        target, pool = self.resolve(), self._context.pool
        if self.request.route not in BEYOND_OPENAI:
            self._context.admission.admit(self.request.client, self.request.request_id, self._most)
        if self._pictured:
            await self._see(target.info)
        any_will_do = target.instance_id in (None, target.info.key)
        while True:
            try:
                return await self._attempt(target)
            except (ProviderUnavailable, QueueFull) as error:
                failure = error
            if not any_will_do or self._lease is None or not pool.outages.pass_on(self._lease, failure):
                break
            self._give_back()
        if await pool.cause(self._lease, failure, self._context.limits.crash_grace) is None:
            raise failure
        self._give_back()
        return await self._attempt(replace(target, instance_id=None))

    async def again(self, body: dict[str, Any]) -> Exchange:
        """One more question to the same instance, after the reply to the one before was read to its end.

        `outcome` is that of the last one. Raises what the upstream refuses it with.
        """
        lease = self._lease
        if lease is None:
            raise InternalError("Nothing was asked yet.")
        self.request.body = body
        if self.timing.first_token is None:
            self.timing.first_token = self.outcome.first_token
        self._exchange = None  # it is over: who aborts this request now ends the sending
        await self._see(self._context.catalog.get(lease.model_key))
        with _Abortable(self):
            exchange = await self._send(lease)
        if exchange.status >= 400:
            raise await exchange.error()
        return exchange

    async def _see(self, info: ModelInfo | None) -> None:
        """Make the images ready for the model, where there are any: before the lease, because it takes a while."""
        context, request = self._context, self.request
        slots = context.images.find(request.body)
        if not slots:
            return
        check_sight(info, slots[0].place, self._known)
        with _Abortable(self):
            await context.images.settle(slots, request.sizing or Sizing())

    def abort(self, error: GatewayError) -> None:
        """End this request with `error`, in whatever phase it is. One whose reply is complete has succeeded."""
        error = self._judged(error)
        if self._exchange is not None and not self._exchange.abort(error):
            return
        self._error = error
        if self._exchange is None and self._waiting is not None:
            self._waiting.cancel()

    def _lost(self, error: GatewayError) -> None:
        """The instance ended under the lease. Between two attempts `open` finds out by itself, and goes on."""
        if self._exchange is not None or self._waiting is not None:
            self.abort(error)

    @property
    def outcome(self) -> Outcome:
        return self._exchange.outcome if self._exchange is not None else Outcome()

    @property
    def instance_id(self) -> str | None:
        """The instance that serves; None while that is open."""
        return self._lease.instance_id if self._lease is not None else None

    @property
    def context_length(self) -> int | None:
        """Tokens that the instance can hold, prompt and answer together; None while unknown."""
        return self._lease.load_config.context_length if self._lease is not None else None

    def resolve(self) -> Target:
        context, request = self._context, self.request
        target = context.catalog.resolve(self._asked, context.pool.ids(), self._known)
        self._wanted = target.info.key
        context.admission.check(request.client, target.info, self._asked)
        check_route(target.info, request.route, self._known)
        if request.load is not None:
            return replace(target, info=replace(target.info, load=request.load.over(target.info.load)))
        return target

    def _most(self) -> int | None:
        """Tokens that the request may take, where it says how many its answer may have. The prompt: by its length."""
        body = self.request.body
        limit, answers = body.get("max_completion_tokens") or body.get("max_tokens"), body.get("n") or 1
        if not isinstance(limit, int) or not isinstance(answers, int):
            return None
        info = self._context.catalog.get(self._wanted or "")
        longest = info.max_context if info is not None and info.max_context else limit
        return about(body) + answers * min(limit, longest)

    def _known(self) -> list[ModelInfo]:
        """The models that the client may use: errors name no others."""
        admission, client = self._context.admission, self.request.client
        return [each for each in self._context.catalog.models() if admission.allows(client, each)]

    async def _attempt(self, target: Target) -> Exchange:
        context, request = self._context, self.request
        limits, only = context.limits, request.only
        self._exchange = None  # of an attempt before: who aborts this request now ends the waiting
        wait = limits.queue_wait_stream if request.body.get("stream") is True else limits.queue_wait
        with _Abortable(self):
            lease = self._lease = await context.pool.lease(
                target.info,
                request_id=request.request_id,
                instance_id=target.instance_id,
                wait=wait,
                only=only,
                affinity=request.affinity,
            )
            self.timing.leased = context.clock()
            self.timing.loading = lease.loading
            if request.route in DECLARED and request.route not in lease.upstream.routes:
                raise UnsupportedFeature(f"The engine of {target.info.key} has no {request.route}.", retry=False)
            lease.on_abort = self._lost
            if lease.broken is not None:
                raise ProviderUnavailable("The instance ended before the request reached it.")
            exchange = await self._send(lease)
            if exchange.status >= 400 or exchange.streamed:
                fitting = Fitting(context.client, lease, request)
                while await self._shortened(exchange, fitting):
                    exchange = await self._send(lease)
        if exchange.status in NOT_TAKEN:
            raise await exchange.error()  # now, because another instance may answer
        self.timing.first_byte = context.clock()
        return exchange

    async def _send(self, lease: Lease) -> Exchange:
        request = self.request
        upstream = onward(lease.upstream, request.headers, lease.model_key)
        body = prepare(request, lease.sampling, upstream)
        self._exchange = await self._context.client.send(
            upstream,
            request.route,
            body,
            stream=request.stream,
            drop_usage=not request.usage_wanted,
            patient=request.patient,
            content_type=request.form.content_type if request.form is not None else None,
        )
        return self._exchange

    async def _shortened(self, exchange: Exchange, fitting: Fitting) -> bool:
        """Whether the request was refused for its length, and is shorter now.

        Some servers refuse in the first frame of a stream: that is waited for where something may be done about it.
        """
        if exchange.status >= 400:
            error: GatewayError | None = await exchange.error()
        elif exchange.streamed and fitting.policy is not Overflow.ERROR:
            error = await exchange.first()
        else:
            return False
        if not isinstance(error, ContextLengthExceeded):
            return False
        self._exchange = None  # it is over: who aborts this request now ends the counting
        if not await fitting.shorten(error):
            self._exchange = exchange
            return False
        self.dropped = fitting.dropped
        return True

    async def _reason(self, error: BaseException) -> GatewayError | None:
        """What is said in place of this error; None if nothing is."""
        match error:
            case UpstreamError():
                return await self._verdict(error)
            case ContextLengthExceeded() if self._lease is not None:
                return self._explained(error, self._lease)
            case CapacityError():
                keys = {each.key for each in self._known()}
                return discreet(error, self._wanted or "", self._context.pool.ids(), keys)
            case _:
                return None

    async def _verdict(self, error: GatewayError) -> GatewayError:
        """The engine's death, if that is what broke the connection: it is reported a moment later than the socket."""
        if self._lease is None:
            return self._judged(error)
        limits, broke_off = self._context.limits, "status" not in error.facts
        grace = limits.own_crash_grace if broke_off and self._lease.ours else limits.crash_grace
        return self._judged(await self._lease.cause(grace) or error)

    def _judged(self, error: GatewayError) -> GatewayError:
        """A crash before the reply began may be retried by the client; one after it would repeat a generation."""
        if isinstance(error, EngineCrashed) and self.timing.first_byte is None:
            return EngineCrashed(error.message, hint=error.hint, retry=True, facts=error.facts)
        return error

    def _explained(self, error: ContextLengthExceeded, lease: Lease) -> GatewayError:
        catalog, request = self._context.catalog, self.request
        info = catalog.get(lease.model_key) or ModelInfo(lease.model_key, "")  # it may be listed no more
        served = Served(info, lease.instance_id, lease.load_config.context_length, self._known())
        return explained(error, request.route, request.body, served)

    def _judge(self, error: BaseException | None) -> None:
        """How it ended speaks for its engine, or against it (F-015)."""
        lease, said = self._lease, self.request
        if lease is None:
            return
        if error is None:
            self._context.pool.judge(lease, None)
        elif isinstance(error, UpstreamError):
            told = sha256(f"{said.route} {said.body!r}".encode("utf-8", "replace")).digest()
            self._context.pool.judge(lease, error, told)

    def _give_back(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
        if self._lease is not None:
            self._lease.release()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._error is None:
            self._error = await self._reason(error)
        self._judge(error and (self._error or error))
        self._give_back()
        self._context.running.discard(self)
        self.timing.finished = self._context.clock()
        if isinstance(error, asyncio.CancelledError) and self._error is not None:
            error = None  # our own abort arriving late: the request failed, its client did not leave
        elif error is None:
            self._error = None  # the reply is complete, whatever happened meanwhile
        self._context.bus.emit(self._end(self._error or error))
        if self._error is not None and self._error is not error:
            raise self._error from error

    def _end(self, error: BaseException | None) -> InferenceComplete | Failure:
        request, timing, lease, outcome = self.request, self.timing, self._lease, self.outcome
        if timing.first_token is None:
            timing.first_token = outcome.first_token
        if error is None:
            return completed(request, timing, lease, outcome, self.dropped)
        return failed(request, timing, lease, error, self._wanted, self._spent())

    def _spent(self) -> Usage:
        """What an answer that was cut off took: engines count at its end only."""
        exchange, counted = self._exchange, self.outcome.usage
        if exchange is None or counted.total_tokens or self.timing.first_token is None:
            return counted
        return Usage(about(self.request.body), exchange.pieces)


class _Abortable:
    """Meanwhile `abort` ends the request by cancelling its task. (A generator costs three times as much.)"""

    __slots__ = ("_inference", "_task")

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._task = inference._waiting = asyncio.current_task()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inference, task = self._inference, self._task
        inference._waiting = None
        if isinstance(error, asyncio.CancelledError) and inference._error is not None and task is not None:
            task.uncancel()
            raise inference._error from None
