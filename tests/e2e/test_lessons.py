"""What loads taught outlives the server, by its own way up and down."""

from __future__ import annotations

from pathlib import Path

from tests.house_process import running

MODELS = "models:\n  - {id: alpha, provider: mock, enabled: true, config: {size_bytes: 1000000}}\n"


def test_a_server_knows_after_its_restart_what_loads_took(tmp_path: Path) -> None:
    with running(tmp_path, MODELS, "--provider", "mock") as house:
        assert house.post("/admin/models/estimate", modelKey="alpha")["learnt"] is False
        house.load("alpha")
    with running(tmp_path, MODELS, "--provider", "mock", LANHAVEN_PREWARM="true") as house:
        assert house.post("/admin/models/estimate", modelKey="alpha")["learnt"] is True
