"""Ten thousand steps of everything at once; LANHAVEN_TEST_STEPS sets another number."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.residency.machine import PoolMachine

STEPS_PER_RUN = 80
STEPS = int(os.environ.get("LANHAVEN_TEST_STEPS", "10000"))

TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=max(1, 2 * STEPS // STEPS_PER_RUN),  # many runs end early: half the steps are sure
    stateful_step_count=STEPS_PER_RUN,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
