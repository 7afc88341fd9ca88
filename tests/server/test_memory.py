"""The operator's memory budget, through the whole server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving import serving

pytestmark = pytest.mark.anyio

MODELS = "models:\n" + "".join(
    f"  - {{id: {name}, provider: mock, enabled: true, config: {{size_bytes: 600000}}}}\n" for name in ("alpha", "beta")
)


@pytest.mark.req("F-017")
async def test_a_model_that_takes_most_of_the_budget_is_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, memory_budget=1_000_000) as house:
        assert (await house.chat(model="alpha")).status_code == 200


@pytest.mark.req("F-017", "S4-22")
async def test_two_that_do_not_fit_together_take_turns(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, memory_budget=1_000_000) as house:
        for name in ("alpha", "beta", "alpha"):
            assert (await house.chat(model=name)).status_code == 200
            assert [each.model_key for each in house.services.pool.instances()] == [name]


@pytest.mark.req("F-017")
async def test_what_an_order_keeps_is_not_given_to_another(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, memory_budget=1_000_000) as house:
        await house.http.post("/admin/models/load", json={"modelKey": "alpha"})
        refused = await house.chat(model="beta")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "insufficient_memory"
        assert (await house.http.post("/admin/models/unload", json={"modelKey": "alpha"})).status_code == 200
        assert (await house.chat(model="beta")).status_code == 200
