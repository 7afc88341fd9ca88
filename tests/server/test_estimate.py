"""POST /admin/models/estimate behind which stands the ledger, and what that keeps over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.serving import serving

pytestmark = pytest.mark.anyio

SIZED = """\
models:
  - {id: alpha, provider: mock, enabled: true, config: {size_bytes: 600}}
  - {id: beta, provider: mock, enabled: true, config: {size_bytes: 700}}
  - {id: gamma, provider: mock, enabled: true, config: {size_bytes: 1100}}
"""


@pytest.mark.req("F-017")
async def test_an_estimate_tells_what_would_become_of_a_load(tmp_path: Path) -> None:
    async with serving(tmp_path, models=SIZED, memory_budget=1000) as house:

        async def ask(key: str) -> dict[str, Any]:
            reply = await house.http.post("/admin/models/estimate", json={"modelKey": key})
            return dict(reply.json())

        first = await ask("alpha")
        assert (first["neededBytes"], first["learnt"], first["verdict"]) == (600, False, "fits")
        assert first["parts"] == {
            "weights": 600, "projector": 0, "kv": 0, "compute": 0, "promptCache": 0, "engine": 0
        }  # fmt: skip
        await house.chat(model="alpha")
        assert (await ask("alpha"))["learnt"] is True
        told = await ask("beta")
        assert (told["verdict"], told["fits"]) == ("fits_after_eviction", True)
        assert (told["availableBytes"], told["evictableBytes"]) == (400, 600)
        told = await ask("gamma")
        assert (told["verdict"], told["fits"]) == ("does_not_fit", False)
        refused = await house.http.post("/admin/models/load", json={"modelKey": "gamma"})
        assert refused.status_code == 503
        assert refused.json()["code"] == "insufficient_memory"
        assert {name: refused.json()[name] for name in ("neededBytes", "availableBytes", "evictableBytes")} == {
            "neededBytes": 1100, "availableBytes": 400, "evictableBytes": 600
        }  # fmt: skip


async def test_an_estimate_tells_of_more_context_than_the_model_takes(tmp_path: Path) -> None:
    async with serving(tmp_path, models=SIZED) as house:

        async def ask(context: int) -> dict[str, Any]:
            order = {"modelKey": "alpha", "loadConfig": {"contextLength": context}}
            return dict((await house.http.post("/admin/models/estimate", json=order)).json())

        told = await ask(99_999)
        why = "the model takes 8192 tokens at most"
        assert (told["ignored"], told["contextLength"]) == ([{"key": "contextLength", "reason": why}], 8192)
        told = await ask(8192)
        assert (told["ignored"], told["contextLength"]) == ([], 8192)


async def test_what_loads_taught_outlives_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path, models=SIZED) as house:
        await house.chat(model="alpha")
    async with serving(tmp_path, models=SIZED) as house:
        ask = {"json": {"modelKey": "alpha"}}
        assert (await house.http.post("/admin/models/estimate", **ask)).json()["learnt"] is False
        await house.services.restore()
        assert (await house.http.post("/admin/models/estimate", **ask)).json()["learnt"] is True


async def test_lessons_that_are_none_are_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path, models=SIZED) as house:
        await house.services.store.put("lessons", "residency.ledger", b"no lessons")
        await house.services.restore()
        assert (await house.chat(model="alpha")).status_code == 200
