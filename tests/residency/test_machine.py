"""Ten thousand steps of everything at once, always the same ones; LANHAVEN_TEST_STEPS=n draws n new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.residency.machine_outside import WholeMachine

STEPS_PER_RUN = 80
SAID = os.environ.get("LANHAVEN_TEST_STEPS")
STEPS = int(SAID or "10000")

TestPool = WholeMachine.TestCase
TestPool.settings = settings(
    max_examples=max(1, 2 * STEPS // STEPS_PER_RUN),  # many runs end early: half the steps are sure
    stateful_step_count=STEPS_PER_RUN,
    derandomize=SAID is None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
