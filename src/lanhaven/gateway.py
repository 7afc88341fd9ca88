"""The gateway: takes requests in (`inference.py` carries each out), and the orders load, unload and activate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from lanhaven.admission import Admission
from lanhaven.catalog import Catalog, Target
from lanhaven.errors import GatewayError, ModelNotFound, ProviderUnavailable, ServerShutdown
from lanhaven.events import EventBus, Failure, ModelActivate
from lanhaven.inference import GatewayLimits, Inference, InferenceContext
from lanhaven.media.images import Images
from lanhaven.residency.pool import LoadResult, Pool
from lanhaven.types.chat import InferenceRequest
from lanhaven.types.models import Instance, LoadConfig, ModelInfo, Sampling
from lanhaven.upstream.pool import UpstreamClient


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
        images: Images,
    ) -> None:
        self.catalog = catalog
        self.pool = pool
        self.client = client
        self.bus = bus
        self.clock = clock
        self.images = images
        self._context = InferenceContext(catalog, pool, client, bus, limits, clock, images)

    @property
    def limits(self) -> GatewayLimits:
        """What holds for every request that is taken in from now on."""
        return self._context.limits

    @limits.setter
    def limits(self, limits: GatewayLimits) -> None:
        self._context = replace(self._context, limits=limits)

    @property
    def admission(self) -> Admission:
        """Who may use what, from now on."""
        return self._context.admission

    @admission.setter
    def admission(self, admission: Admission) -> None:
        self._context = replace(self._context, admission=admission)

    def infer(self, request: InferenceRequest) -> Inference:
        """`async with gateway.infer(request) as inference: exchange = await inference.open()`."""
        return Inference(self._context, request)

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
        return len(self._context.running)

    def abort_all(self, error: GatewayError) -> None:
        """End every running request with `error`: streams get an error frame."""
        for inference in tuple(self._context.running):
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
        self.catalog.check_identifier(instance_id, info.key)
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
        instance = self.loaded(name, instance_id)
        kept = instance.sampling
        if sampling is not None:
            kept = sampling.over(kept if merge else Sampling())
            self.pool.set_sampling(instance.instance_id, kept)
        self._activate(instance.model_key, instance.instance_id)
        return instance.model_key, instance.instance_id, kept

    def loaded(self, name: str, instance_id: str | None = None) -> Instance:
        """The instance of this identifier, else the model's that was used last. ModelNotFound."""
        found = self._instances(name, instance_id)
        if not found:
            raise ModelNotFound(_absent(name, instance_id), hint=f"lanhaven load {name}", retry=False)
        return max(found, key=lambda each: each.last_used)

    def active(self) -> tuple[str | None, str | None, Sampling]:
        """Key, instance and defaults of the active model; (None, None, Sampling()) when none is."""
        active = self.catalog.active
        if active is None:
            return None, None, Sampling()
        instance = self.pool.get(active.instance_id) if active.instance_id else None
        return active.model_key, active.instance_id, instance.sampling if instance else Sampling()

    def model(self, name: str, client: str | None = None) -> ModelInfo:
        """The model of this name (key, alias or instance); ModelNotFound with the native wording, Forbidden."""
        info = self.resolve(name, client).info
        self.admission.check(client, info, name)
        return info

    def resolve(self, name: str | None, client: str | None) -> Target:
        """What a name means, whether the client may use it or not; errors name only what it may use."""
        return self.catalog.resolve(name, self.pool.ids(), partial(self.models, client))

    def models(self, client: str | None) -> list[ModelInfo]:
        """The models that this client may use."""
        return [each for each in self.catalog.models() if self.admission.allows(client, each)]

    def instances(self, client: str | None) -> list[Instance]:
        """The instances of those models."""
        return [each for each in self.pool.instances() if self.may_see(client, each.model_key)]

    def named_instances(self, client: str | None) -> list[tuple[str, ModelInfo]]:
        """Identifier and model of those that the catalog knows."""
        known = ((name, self.catalog.get(key)) for name, key in self.pool.ids().items())
        return [(name, info) for name, info in known if info is not None and self.admission.allows(client, info)]

    def may_see(self, client: str | None, key: str) -> bool:
        """Whether the client may know of this model."""
        info = self.catalog.get(key)
        return info is None or self.admission.allows(client, info)

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


SHUTDOWN = ServerShutdown("The server is going down.", retry_after=5)
