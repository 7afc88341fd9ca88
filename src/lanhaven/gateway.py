"""The gateway: a request's way from a model name to an upstream, and the orders load, unload and activate.

resolve the name -> lease an instance -> fill in its defaults -> one HTTP exchange. Every accepted request is one
`Inference`, which emits `inference_start` and exactly one of `inference_complete` and `error`, whatever ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from lanhaven.catalog import Catalog, Target
from lanhaven.errors import (
    EngineCrashed,
    GatewayError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    ProviderUnavailable,
    ServerShutdown,
    UnsupportedFeature,
    UpstreamError,
)
from lanhaven.events import EventBus, Failure, InferenceComplete, InferenceStart, ModelActivate
from lanhaven.residency.pool import Lease, LoadResult, Pool
from lanhaven.types.chat import BEYOND_OPENAI, InferenceRequest, Outcome, Timing
from lanhaven.types.models import Instance, LoadConfig, ModelInfo, Sampling
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.pool import UpstreamClient
from lanhaven.upstream.preparing import prepare


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Seconds. A streaming client is kept alive by comments, so it may wait longer for its turn."""

    queue_wait: float = 60.0
    queue_wait_stream: float = 600.0
    crash_grace: float = 0.25  # how long a broken connection waits for its engine's death certificate


class Gateway:
    """Joins catalog, pool and upstream client. All errors it raises are GatewayErrors."""

    def __init__(
        self,
        catalog: Catalog,
        pool: Pool,
        client: UpstreamClient,
        bus: EventBus,
        limits: GatewayLimits,
        clock: Callable[[], float],
    ) -> None:
        self.catalog = catalog
        self.pool = pool
        self.client = client
        self.bus = bus
        self.limits = limits
        self.clock = clock
        self._running: set[Inference] = set()

    def infer(self, request: InferenceRequest) -> Inference:
        """`async with gateway.infer(request) as inference: exchange = await inference.open()`."""
        return Inference(self, request, self._running)

    async def warm(self, request: InferenceRequest) -> str:
        """Load what the request would need, and ask nothing; the instance's identifier."""
        target, wait = self.infer(request).resolve(), self.limits.queue_wait_stream
        lease = await self.pool.lease(
            target.info, request_id=request.request_id, instance_id=target.instance_id, wait=wait
        )
        lease.release()
        return lease.instance_id

    @property
    def inflight(self) -> int:
        return len(self._running)

    def abort_all(self, error: GatewayError) -> None:
        """End every running request with `error`: streams get an error frame."""
        for inference in tuple(self._running):
            inference.abort(error)

    async def load(
        self,
        name: str,
        *,
        instance_id: str | None = None,
        config: LoadConfig | None = None,
        sampling: Sampling | None = None,
        activate: bool = True,
        pinned: bool = False,
        force: bool = False,
    ) -> LoadResult:
        """Load a model on an operator's order; with `activate` it becomes the active one."""
        try:
            info = self.model(name)
        except (ModelNotFound, ProviderUnavailable) as error:  # the pool tells of all others, and never hears of these
            self.bus.emit(
                Failure(
                    operation="model_load", error=error.message, code=error.code, status=error.status, model_key=name
                )
            )
            raise
        result = await self.pool.load(
            info,
            instance_id=instance_id,
            config=(config or LoadConfig()).over(info.load),
            sampling=(sampling or Sampling()).over(info.sampling),
            pinned=pinned,
            force=force,
            activated=activate,
        )
        if result.reused and sampling is not None:
            self.pool.set_sampling(result.instance.instance_id, sampling.over(info.sampling))
        if activate:
            self._activate(info.key, result.instance.instance_id)
        return replace(result, instance=self.pool.get(result.instance.instance_id) or result.instance)

    async def unload(self, name: str, instance_id: str | None = None, *, force: bool = False) -> list[Instance]:
        """Unload one instance by identifier, else every instance of the model. ModelNotFound if there is none."""
        victims = self._instances(name, instance_id)
        if not victims:
            raise ModelNotFound(_absent(name, instance_id), retry=False)
        for victim in victims:
            self.catalog.deactivate_if(victim.instance_id)
        await asyncio.gather(*(self.pool.unload(each.instance_id, force=force) for each in victims))
        return victims

    def activate(
        self,
        name: str,
        instance_id: str | None = None,
        sampling: Sampling | None = None,
        *,
        merge: bool = False,
    ) -> tuple[str, str | None, Sampling]:
        """Make a loaded instance the one that answers requests without a model. Returns key, instance, its defaults.

        Stored defaults are kept unless `sampling` is given, which replaces them (`merge` lays it over them).
        """
        loaded = self._instances(name, instance_id)
        if not loaded:
            raise ModelNotFound(_absent(name, instance_id), hint=f"lanhaven load {name}", retry=False)
        instance = max(loaded, key=lambda each: each.last_used)
        kept = instance.sampling
        if sampling is not None:
            kept = sampling.over(kept if merge else Sampling())
            self.pool.set_sampling(instance.instance_id, kept)
        self._activate(instance.model_key, instance.instance_id)
        return instance.model_key, instance.instance_id, kept

    def active(self) -> tuple[str | None, str | None, Sampling]:
        """Key, instance and defaults of the active model; (None, None, Sampling()) when none is."""
        active = self.catalog.active
        if active is None:
            return None, None, Sampling()
        instance = self.pool.get(active.instance_id) if active.instance_id else None
        return active.model_key, active.instance_id, instance.sampling if instance else Sampling()

    def model(self, name: str) -> ModelInfo:
        """The model of this name (key, alias or instance); ModelNotFound with the native wording."""
        return self.catalog.resolve(name, self.pool.ids()).info

    def _instances(self, name: str, instance_id: str | None) -> list[Instance]:
        if instance_id is not None:
            found = self.pool.get(instance_id)
            known = self._known(name)
            return [found] if found is not None and (known is None or found.model_key == known.info.key) else []
        target = self._known(name)
        if target is None:
            return []
        if target.instance_id is not None and target.instance_id != target.info.key:
            return [each for each in self.pool.instances() if each.instance_id == target.instance_id]
        return [each for each in self.pool.instances() if each.model_key == target.info.key]

    def _known(self, name: str) -> Target | None:
        try:
            return self.catalog.resolve(name, self.pool.ids())
        except (ModelNotFound, ProviderUnavailable):
            return None

    def _activate(self, key: str, instance_id: str | None) -> None:
        self.catalog.activate(key, instance_id)
        _, _, sampling = self.active()
        self.bus.emit(ModelActivate(model_key=key, instance_id=instance_id, sampling=sampling))

    def __repr__(self) -> str:
        return f"Gateway(inflight={self.inflight} active={self.catalog.active} {self.pool!r})"


def _absent(name: str, instance_id: str | None) -> str:
    return f"Model not found: {name}" + (f" (instance: {instance_id})" if instance_id is not None else "")


class Inference:
    """One accepted request, from its start event to its single terminal event.

    Leaving the context, for whatever reason, closes the upstream and gives the instance back before anything else.
    """

    __slots__ = ("_error", "_exchange", "_gateway", "_lease", "_running", "_waiting", "request", "timing")

    def __init__(self, gateway: Gateway, request: InferenceRequest, running: set[Inference]) -> None:
        self._gateway = gateway
        self._running = running
        self._lease: Lease | None = None
        self._exchange: Exchange | None = None
        self._error: GatewayError | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self.request = request
        self.timing = Timing(accepted=gateway.clock())

    async def __aenter__(self) -> Self:
        request = self.request
        self._running.add(self)
        self._gateway.bus.emit(
            InferenceStart(
                request_id=request.request_id,
                method=request.method,
                path=request.path,
                dialect=request.dialect,
                model=request.model,
                client=request.client,
            )
        )
        return self

    async def open(self) -> Exchange:
        """Get an instance, send the request, and return once the reply has begun.

        An instance that turned out to be gone before it saw the request is replaced once.
        """
        target = self.resolve()
        try:
            return await self._attempt(target)
        except ProviderUnavailable as error:
            if await self._gateway.pool.cause(self._lease, error, self._gateway.limits.crash_grace) is None:
                raise error from None
        self._give_back()
        return await self._attempt(replace(target, instance_id=None))

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
        gateway, request = self._gateway, self.request
        target = gateway.catalog.resolve(request.model, gateway.pool.ids())
        able, need = target.info.capabilities, request.route.capability
        if need is not None and able and need not in able:
            raise InvalidRequest(
                f"Model {target.info.key} cannot do {need}: it is made for {', '.join(sorted(able))}.",
                param="model",
                hint=_who_can(need, gateway.catalog),
                retry=False,
            )
        if request.load is not None:
            return replace(target, info=replace(target.info, load=request.load.over(target.info.load)))
        return target

    async def _attempt(self, target: Target) -> Exchange:
        gateway, request = self._gateway, self.request
        limits, only = gateway.limits, request.only
        wait = limits.queue_wait_stream if request.body.get("stream") is True else limits.queue_wait
        task = self._waiting = asyncio.current_task()
        try:
            lease = self._lease = await gateway.pool.lease(
                target.info, request_id=request.request_id, instance_id=target.instance_id, wait=wait, only=only
            )
            self.timing.leased = gateway.clock()
            if request.route in BEYOND_OPENAI and request.route not in lease.upstream.routes:
                raise UnsupportedFeature(f"The engine of {target.info.key} has no {request.route}.", retry=False)
            body = prepare(request, lease.sampling, lease.upstream)
            lease.on_abort = self._lost
            if lease.broken is not None:
                raise ProviderUnavailable("The instance ended before the request reached it.")
            exchange = self._exchange = await gateway.client.send(
                lease.upstream, request.route, body, stream=request.stream, drop_usage=not request.usage_wanted
            )
        except asyncio.CancelledError:
            if self._error is None or task is None:
                raise
            task.uncancel()
            raise self._error from None
        finally:
            self._waiting = None
        if exchange.status == 404:
            raise await exchange.error()  # now, because the instance may be gone there: then another one answers
        self.timing.first_byte = gateway.clock()
        return exchange

    async def _verdict(self, error: GatewayError) -> GatewayError:
        """The engine's death, if that is what broke the connection: it is reported a moment later than the socket."""
        cause = await self._lease.cause(self._gateway.limits.crash_grace) if self._lease is not None else None
        return self._judged(cause or error)

    def _judged(self, error: GatewayError) -> GatewayError:
        """A crash before the reply began may be retried by the client; one after it would repeat a generation."""
        if isinstance(error, EngineCrashed) and self.timing.first_byte is None:
            return EngineCrashed(error.message, hint=error.hint, retry=True, facts=error.facts)
        return error

    def _give_back(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
        if self._lease is not None:
            self._lease.release()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UpstreamError) and self._error is None:
            self._error = await self._verdict(error)
        self._give_back()
        self._running.discard(self)
        self.timing.finished = self._gateway.clock()
        if isinstance(error, asyncio.CancelledError) and self._error is not None:
            error = None  # our own abort arriving late: the request failed, its client did not leave
        elif error is None:
            self._error = None  # the reply is complete, whatever happened meanwhile
        self._emit_end(error)
        if self._error is not None and self._error is not error:
            raise self._error from error

    def _emit_end(self, error: BaseException | None) -> None:
        failure = self._error or error
        if failure is None:
            self._gateway.bus.emit(self._complete())
        else:
            self._gateway.bus.emit(self._failure(failure))

    def _complete(self) -> InferenceComplete:
        timing, lease, outcome = self.timing, self._lease, self.outcome
        start = timing.accepted
        return InferenceComplete(
            request_id=self.request.request_id,
            model_key=lease.model_key if lease else "",
            instance_id=lease.instance_id if lease else "",
            dialect=self.request.dialect,
            client=self.request.client,
            streamed=self.request.stream,
            seconds=(timing.finished or start) - start,
            queue_seconds=(timing.leased or start) - start,
            first_byte_seconds=(timing.first_byte or start) - start,
            finish_reason=outcome.finish_reason,
            usage=outcome.usage,
        )

    def _failure(self, error: BaseException) -> Failure:
        left = isinstance(error, asyncio.CancelledError)
        known = error if isinstance(error, GatewayError) else InternalError("Internal error.")
        return Failure(
            operation="inference",
            error="The client left." if left else known.message,
            code="client_closed" if left else known.code,
            status=499 if left else known.status,
            request_id=self.request.request_id,
            model_key=self._lease.model_key if self._lease else None,
            instance_id=self._lease.instance_id if self._lease else None,
            dialect=self.request.dialect,
            client=self.request.client,
            cancelled=left,
            seconds=(self.timing.finished or self.timing.accepted) - self.timing.accepted,
        )


def _who_can(need: str, catalog: Catalog) -> str | None:
    able: Mapping[str, None] = dict.fromkeys(each.key for each in catalog.models() if need in each.capabilities)
    return f"These can: {', '.join(able)}" if able else None


SHUTDOWN = ServerShutdown("The server is going down.", retry_after=5)
