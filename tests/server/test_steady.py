"""What goes on beside the requests goes on."""

from __future__ import annotations

import asyncio

import pytest

from lanhaven.server.steady import every

pytestmark = pytest.mark.anyio


@pytest.mark.req("F-185")
async def test_a_defect_in_one_step_does_not_end_those_that_follow(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception | None] = [KeyError("a"), KeyError("a"), None, KeyError("a"), ValueError("b"), None]
    over = asyncio.Event()

    async def sweep() -> None:
        if not errors:
            over.set()
        elif (error := errors.pop(0)) is not None:
            raise error

    work = asyncio.create_task(every(0, sweep))
    await asyncio.wait_for(over.wait(), 60)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    told = [each.getMessage().rpartition(".")[2] for each in caplog.records]
    assert told == ["sweep failed, and is tried again"] * 3, "the same one again is told once"
