"""Every test here runs in virtual time: seconds cost nothing, and the order of things is always the same."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from tests.residency.fakes import ScriptedProvider, World
from tests.residency.virtual import VirtualLoop


@pytest.fixture
def anyio_backend(virtual_loops: list[VirtualLoop]) -> tuple[str, dict[str, object]]:
    def create() -> VirtualLoop:
        virtual_loops.append(VirtualLoop())
        return virtual_loops[-1]

    return ("asyncio", {"loop_factory": create})


@pytest.fixture
def virtual_loops() -> Iterator[list[VirtualLoop]]:
    """The loops a test ran in: nothing may have gone wrong in them that nobody looked at."""
    loops: list[VirtualLoop] = []
    gc.freeze()  # the objects of thousands of other tests: looking through them takes seconds
    yield loops
    gc.collect()  # futures tell about errors that nobody looked at when they die
    gc.unfreeze()
    for loop in loops:
        assert loop.failures == []


@pytest.fixture
async def world(anyio_backend: object) -> World:
    loop = asyncio.get_running_loop()
    return World(loop.time, ScriptedProvider())
