"""A model of everything that can happen to a pool, in any order, with any callback running first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lanhaven.errors import EngineCrashed, EngineHung, GatewayError, LoadFailed, ProviderUnavailable, QueueTimeout
from lanhaven.events import EventBus
from lanhaven.providers.base import Running
from lanhaven.residency import Lease, Pool, PoolSettings
from lanhaven.residency.resident import Phase
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling
from tests.residency import audit
from tests.residency.fakes import GIB, Engine, ScriptedProvider, model
from tests.residency.virtual import VirtualLoop

MODELS = [
    model("a", 3),
    model("b", 3, ttl=15),
    model("c", 4),
    model("e", 0),
    model("p", 2, pinned=True),
    model("z", 99),
]
BY_KEY = {each.key: each for each in MODELS}
KEYS = st.sampled_from("abceabceabcpz")
NAMES = st.sampled_from([None, None, None, "a", "b", "x", "y"])
CONFIGS = {
    "": LoadConfig(),
    "long": LoadConfig(context_length=9),
    "short": LoadConfig(context_length=1),
    "ttl": LoadConfig(idle_ttl=10),
}
WAITS = st.sampled_from([0.0, 1.0, 10.0, 100.0, 100.0, float("inf")])
PICK = st.integers(0, 40)


@dataclass(eq=False)
class Request:
    """One client: waits for a lease, uses it until `done`."""

    done: asyncio.Future[None]
    task: asyncio.Task[None] | None = None
    lease: Lease | None = None
    engine: Engine | None = None
    ends: list[str] = field(default_factory=list)
    told: list[GatewayError] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        return self.lease is None and not self.over

    @property
    def served(self) -> bool:
        return self.lease is not None and self.lease.broken is None and not self.over and not self.done.done()

    @property
    def over(self) -> bool:
        """Its task has ended (one that is cancelled before it begins has nothing to tell)."""
        return self.task is not None and self.task.done()


class PoolMachine(RuleBasedStateMachine):
    """The rules draw what happens next; the invariants look after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.requests: list[Request] = []
        self.orders: list[asyncio.Task[Any]] = []
        self.sides: list[asyncio.Task[Any]] = []  # unloads, sweeps
        self.late = self.forced = False

    @initialize(
        slots=st.sampled_from([None, 1, 2]),
        depth=st.integers(0, 4),
        automatic=st.sampled_from([1, 1, 2, 3]),
        ends=st.sampled_from([0.0, 0.5, 50.0]),
        patience=st.sampled_from([0.0, 5.0, 5.0, float("inf")]),
        margin=st.sampled_from([0, GIB, 4 * GIB]),
        ours=st.booleans(),
    )
    def begin(
        self, slots: int | None, depth: int, automatic: int, ends: float, patience: float, margin: int, ours: bool
    ) -> None:
        self.provider = ScriptedProvider(
            slots=slots, load_seconds=None, end_seconds=ends, memory=10 * GIB, lists=True, margin=margin, ours=ours
        )
        self.provider.before_unload = self._before_unload
        bus = EventBus()
        settings = PoolSettings(
            max_automatic=automatic, queue_depth=depth, idle_ttl=20, drain_timeout=8, load_timeout=60, load_stall=30,
            unload_timeout=10 if ends < 10 else 100, patience=patience,
        )  # fmt: skip
        self.settings = settings
        self.pool = Pool(
            {"scripted": self.provider}, bus, settings, available_memory=self.provider.available, clock=self.loop.time,
            find_model=BY_KEY.get,
        )  # fmt: skip
        self.ledger = audit.Ledger(self.pool)
        bus.listen(self.ledger.hear)

    def _before_unload(self, instance_id: str) -> None:
        resident = self.pool._books.get(instance_id)
        if resident is None or resident.leases:
            self.provider.wrongs.append(f"unload of {resident} while in use")

    # Clients.

    async def _client(self, request: Request, info: ModelInfo, name: str | None, wait: float, only: bool) -> None:
        try:
            # Those that wait alike are taken for one conversation: it must never change what is promised.
            lease = await self.pool.lease(
                info, request_id="r", instance_id=name, wait=wait, only=only, affinity=None if only else str(wait)
            )
        except asyncio.CancelledError:
            request.ends.append("cancelled")
            raise
        except GatewayError as error:
            self.late = self.late or isinstance(error, QueueTimeout)
            request.ends.append(error.code)
            return
        assert lease.broken is None
        assert not only or lease.instance_id == name
        request.lease, request.engine = lease, self.provider.engines.get(lease.instance_id)
        lease.on_abort = request.told.append
        try:
            await request.done
        finally:
            lease.release()
            request.ends.append("served")

    @rule(key=KEYS, wait=WAITS, rests=st.booleans())
    def ask(self, key: str, wait: float, rests: bool) -> None:
        self._ask(key, None, wait)
        if rests:
            self.loop.settle()

    @rule(key=KEYS, wait=WAITS)
    def ask_and_get(self, key: str, wait: float) -> None:
        """As most requests go: the model is there, or comes without trouble."""
        self._ask(key, None, wait)
        self.rest_till_all_is_loaded()

    @precondition(lambda self: self.pool.instances())
    @rule(pick=PICK, wait=WAITS, only=st.booleans())
    def ask_by_name(self, pick: int, wait: float, only: bool) -> None:
        name = self.instance(pick)
        self._ask(self.pool.ids()[name], name, wait, only=only)

    @rule(key=KEYS, name=NAMES)
    def ask_at_random(self, key: str, name: str) -> None:
        self._ask(key, name, 5.0)

    def _ask(self, key: str, name: str | None, wait: float, *, only: bool = False) -> None:
        request = Request(self.loop.create_future())
        request.task = self.loop.begin(self._client(request, BY_KEY[key], name, wait, only))
        self.requests.append(request)

    @precondition(lambda self: any(not each.over for each in self.requests))
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        request = self._living(pick)
        if request.lease is not None and not request.done.done():
            self.loop.call(request.done.set_result, None)

    @precondition(lambda self: any(not each.over for each in self.requests))
    @rule(pick=PICK)
    def disconnect(self, pick: int) -> None:
        request = self._living(pick)
        assert request.task is not None
        self.loop.call(request.task.cancel)

    def _living(self, pick: int) -> Request:
        living = [each for each in self.requests if not each.over]
        return living[pick % len(living)]

    # Operators.

    async def _quietly(self, work: Callable[..., Awaitable[object]], *names: object, **named: Any) -> None:
        try:
            await work(*names, **named)
        except GatewayError as error:
            self.late = self.late or isinstance(error, QueueTimeout)

    @rule(key=KEYS, name=NAMES, config=st.sampled_from(sorted(CONFIGS)), force=st.integers(0, 19), pinned=st.booleans())
    def load(self, key: str, name: str | None, config: str, force: int, pinned: bool) -> None:
        forced = force == 0
        self.forced = self.forced or forced
        said = {"instance_id": name, "config": CONFIGS[config], "force": forced, "pinned": pinned and force > 7}
        self.orders.append(self.loop.begin(self._quietly(self.pool.load, BY_KEY[key], **said)))

    @rule(key=KEYS)
    def preload(self, key: str) -> None:
        self.orders.append(self.loop.begin(self._quietly(self.pool.load, BY_KEY[key], automatic=True)))

    @precondition(lambda self: any(not each.done() for each in self.orders))
    @rule(pick=PICK)
    def cancel_order(self, pick: int) -> None:
        living = [each for each in self.orders if not each.done()]
        self.loop.call(living[pick % len(living)].cancel)

    @precondition(lambda self: self.pool.instances())
    @rule(pick=PICK, force=st.booleans())
    def unload(self, pick: int, force: bool) -> None:
        name = self.instance(pick)
        self.sides.append(self.loop.begin(self._quietly(self.pool.unload, name, force=force)))

    @precondition(lambda self: any(not each.done() for each in self.sides))
    @rule(pick=PICK)
    def cancel_unload_or_sweep(self, pick: int) -> None:
        living = [each for each in self.sides if not each.done()]
        self.loop.call(living[pick % len(living)].cancel)

    @precondition(lambda self: self.pool.instances())
    @rule(pick=PICK, pinned=st.booleans(), heat=st.floats(0, 2))
    def change(self, pick: int, pinned: bool, heat: float) -> None:
        name = self.instance(pick)
        self.loop.call(self.pool.set_sampling, name, Sampling(temperature=heat))
        self.loop.call(self.pool.set_pinned, name, pinned)  # which may decide what waits: even that there is no room
        instance = self.pool.get(name)
        assert instance is None or instance.sampling.temperature == heat

    def instance(self, pick: int) -> str:
        names = [each.instance_id for each in self.pool.instances()]
        return names[pick % len(names)]

    # Engines.

    def _engines(self, *, ready: bool) -> list[Engine]:
        return [each for each in self.provider.engines.values() if each.ready is ready]

    @precondition(lambda self: self._engines(ready=False))
    @rule(pick=PICK)
    def loaded(self, pick: int) -> None:
        self.loop.call(self.provider.finish, self._of(pick, ready=False).instance_id)

    @precondition(lambda self: self._engines(ready=False))
    @rule(
        pick=PICK, error=st.sampled_from([LoadFailed("bad file"), ProviderUnavailable("away"), EngineCrashed("dead")])
    )
    def load_fails(self, pick: int, error: GatewayError) -> None:
        self.loop.call(self.provider.fail, self._of(pick, ready=False).instance_id, type(error)(error.message))

    @precondition(lambda self: self._engines(ready=False))
    @rule(pick=PICK, part=st.floats(0, 1))
    def load_proceeds(self, pick: int, part: float) -> None:
        engine = self._of(pick, ready=False)
        engine.taken = max(engine.taken, int(engine.info.size_bytes * part))
        self.loop.call(engine.observer.progress, "weights", part)

    @precondition(lambda self: self._engines(ready=True))
    @rule(pick=PICK)
    def crash(self, pick: int) -> None:
        self.loop.call(self.provider.crash, self._of(pick, ready=True).instance_id, EngineCrashed("dead"))

    @precondition(lambda self: self._engines(ready=True))
    @rule(pick=PICK)
    def hang(self, pick: int) -> None:
        name = self._of(pick, ready=True).instance_id
        self.loop.call(self.provider.hang, name, EngineHung("silent"))

    def _of(self, pick: int, *, ready: bool) -> Engine:
        engines = self._engines(ready=ready)
        return engines[pick % len(engines)]

    @rule(fails=st.booleans())
    def unloads_fail(self, fails: bool) -> None:
        self.provider.unload_error = ProviderUnavailable("lost it") if fails else None

    @rule(key=KEYS, there=st.booleans())
    def somebody_else(self, key: str, there: bool) -> None:
        """Loads or unloads in the engine's own window."""
        self.runs(f"foreign-{key}", key, there=there)

    def runs(self, name: str, key: str, *, there: bool, foreign: bool = True, away: str | None = None) -> None:
        others = [each for each in self.provider.running if each.instance_id != name]
        one = Running(name, key, 0, self.provider.upstream(name), foreign=foreign, away=away)
        self.provider.running = [*others, one] if there else others

    # Time.

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0, 9.0, 16.0, 25.0, 61.0]))
    def tick(self, seconds: float) -> None:
        self.loop.tick(seconds)

    @rule()
    def next_timer(self) -> None:
        self.loop.tick(self.loop.next_timer() or 0.0)

    @rule()
    def sweep(self) -> None:
        self.sides.append(self.loop.begin(self.pool.sweep()))

    @rule(picks=st.lists(st.integers(0, 5), min_size=1, max_size=6))
    def step(self, picks: list[int]) -> None:
        for pick in picks:
            self.loop.step(pick)

    @rule()
    def rest(self) -> None:
        self.loop.settle()

    @rule(seconds=st.sampled_from([1.0, 5.0, 11.0]))
    def rest_a_while(self, seconds: float) -> None:
        self.loop.settle()
        self.loop.tick(seconds)
        self.loop.settle()

    @rule()
    def rest_till_all_is_loaded(self) -> None:
        self.loop.settle()
        for engine in self._engines(ready=False):
            self.loop.call(self.provider.finish, engine.instance_id)
        self.loop.settle()

    # What must hold.

    @invariant()
    def holds(self) -> None:
        if self.loop.now == 0.0 and not self.requests and not self.orders:
            return
        audit.always(self.pool, self.provider, self.settings.max_automatic, forced=self.forced)
        assert self.ledger.wrongs == [], self.ledger.wrongs
        assert self.loop.failures == [], self.loop.failures
        for resident in self.pool._books:
            depth = self.settings.queue_depth
            assert resident.waiting <= max(1, depth) + (len(self.requests) if resident.reason or resident.held else 0)
        for request in self.requests:
            assert len(request.ends) <= 1, request
            assert len(request.told) <= 1, request
            self._lease_holds(request)
        if not self.loop.pending:
            audit.at_rest(self.pool, self.loop.now, forced=self.forced)
            self._needs_are_known()
            self._everybody_is_somewhere()

    def _needs_are_known(self) -> None:
        """By arithmetic until a load has taught better; what was learnt is what an engine took, and no more."""
        for info in MODELS:
            need = self.pool.ledger.need(info, info.load)
            computed = info.size_bytes + self.provider.margin if info.size_bytes else 0
            assert need.bytes == (info.size_bytes if need.learnt else computed)

    def _lease_holds(self, request: Request) -> None:
        """A lease is on a running engine, the one it was given for, or it is broken."""
        lease = request.lease
        if lease is None or lease.broken is not None or request.ends or request.engine is None:
            return
        assert self.provider.engines.get(lease.instance_id) is request.engine, (lease, repr(self.pool))

    def _everybody_is_somewhere(self) -> None:
        residents = list(self.pool._books)
        assert sum(each.waiting for each in residents) == sum(each.waits for each in self.requests), repr(self.pool)
        assert sum(len(each.orders) for each in residents) == sum(not each.done() for each in self.orders), repr(
            self.pool
        )
        holding = sum(each.lease is not None and not each.lease.broken and not each.ends for each in self.requests)
        assert sum(len(each.leases) for each in residents) == holding
        if not self.late:
            assert all(each.wanted for each in residents if each.phase is Phase.LOADING), repr(self.pool)

    def teardown(self) -> None:
        """Everybody leaves, the pool is closed: nothing may be left (I5, I6)."""
        try:
            self._end_all()
        finally:
            for task in asyncio.all_tasks(self.loop):
                self.loop.call(task.cancel)
            self.loop.settle()
            self.loop.close()

    def _end_all(self) -> None:
        self.provider.unload_error = None
        for request in self.requests:
            if not request.done.done():
                self.loop.call(request.done.set_result, None)
        closing = self.loop.begin(self.pool.aclose(5.0))
        for _ in range(60):
            self.loop.settle()
            self.loop.tick(self.loop.next_timer() or 0.0)
        self.loop.settle()
        assert closing.done(), self.pool
        closing.result()
        assert list(self.pool._books) == []
        assert repr(self.pool).startswith(f"Pool(0/{self.settings.max_automatic} automatic, 0 waiting closing []")
        assert self.provider.engines == {}
        assert Counter(self.provider.spawned) == Counter(self.provider.ended)
        assert asyncio.all_tasks(self.loop) == set()
        assert all(len(each.ends) == 1 for each in self.requests if each.task and not each.task.cancelled())
        assert set(self.ledger.stage.values()) <= {"nothing"}
        assert self.ledger.wrongs == [], self.ledger.wrongs
        assert self.loop.failures == [], self.loop.failures
