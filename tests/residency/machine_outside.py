"""What else happens to a pool: what upstreams answer, servers that others run, another models.yaml."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from lanhaven.errors import GatewayError, ProviderUnavailable, UpstreamError
from lanhaven.types.models import Sampling
from tests.residency.machine import BY_KEY, KEYS, PICK, PoolMachine

ENDINGS = [None, UpstreamError("CUDA error", facts={"status": 500}), UpstreamError("your fault")]


class WholeMachine(PoolMachine):
    """All rules."""

    @precondition(lambda self: any(each.served for each in self.requests))
    @rule(pick=PICK, error=st.sampled_from(ENDINGS), request=st.sampled_from([b"1", b"2", b"3", b"4"]))
    def ends(self, pick: int, error: GatewayError | None, request: bytes) -> None:
        """What a request's upstream answered."""
        served = [each for each in self.requests if each.served]
        self.loop.call(self.pool.judge, served[pick % len(served)].lease, error, request)

    @precondition(lambda self: any(each.served for each in self.requests))
    @rule(pick=PICK, facts=st.sampled_from([{"connect": True}, {"gone": True}, {}]))
    def not_taken_up(self, pick: int, facts: dict[str, object]) -> None:
        """Its upstream does not answer, or turns the request away."""
        served = [each for each in self.requests if each.served]
        lease = served[pick % len(served)].lease
        self.loop.call(self.pool.outages.pass_on, lease, ProviderUnavailable("away", facts=dict(facts)))

    @precondition(lambda self: any(each.served for each in self.requests))
    @rule(pick=PICK, gone=st.booleans())
    def asks_for_the_cause(self, pick: int, gone: bool) -> None:
        served = [each for each in self.requests if each.served]
        error = ProviderUnavailable("cut", facts={"gone": gone})
        self.sides.append(self.loop.begin(self.pool.cause(served[pick % len(served)].lease, error, 0.5)))

    @precondition(lambda self: self.pool.instances())
    @rule(pick=PICK, seconds=st.sampled_from([None, 0.0, 5.0, 1000.0]))
    def change_ttl(self, pick: int, seconds: float | None) -> None:
        name = self.instance(pick)
        self.loop.call(self.pool.set_idle_ttl, name, seconds)

    @rule(key=KEYS, there=st.integers(0, 3), pinned=st.booleans(), heat=st.floats(0, 2), other=st.booleans())
    def models_yaml_changes(self, key: str, there: int, pinned: bool, heat: float, other: bool) -> None:
        changed = replace(BY_KEY[key], pinned=pinned, sampling=Sampling(temperature=heat), config={"other": other})
        models = {key: changed if there else None}
        self.loop.call(self.pool.following.follow, models, self.settings.max_automatic)

    @rule(key=st.sampled_from("abe"), there=st.booleans(), away=st.booleans())
    def another_server(self, key: str, there: bool, away: bool) -> None:
        """Has the model without a load, and answers or does not."""
        self.runs(f"there-{key}", key, there=there, foreign=False, away="does not answer" if away else None)
