"""The clocks of engines in these tests."""

from __future__ import annotations

from lanhaven.engines.process import Timers

# A hang is noticed after some three seconds; a machine with much else to do must not look like one.
PATIENT = Timers(load_total=None, load_stall=None, probe_every=0.2, probe_timeout=0.6, probe_misses=4, reap=60)
