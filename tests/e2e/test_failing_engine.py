"""An engine that lives, answers its health check, and fails all that it is asked (as after an error of CUDA)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.house_process import running

PROGRAM = Path(__file__).parents[1] / "providers/command/program.py"


@pytest.mark.req("F-015")
def test_it_is_replaced_after_three_requests(tmp_path: Path) -> None:
    command = json.dumps([sys.executable, str(PROGRAM)])
    models = f"""\
models:
  - id: card
    provider: command
    config: {{command: {command}, env: {{LISTEN: "${{SOCKET}}"}}, routes: [chat]}}
"""
    with running(tmp_path, models) as house, house.events() as events:
        assert house.chat("Hello", model="card").status_code == 200
        failed = [house.chat(words, model="card") for words in ("break", "break", "again", "and again")]
        assert [each.status_code for each in failed] == [502] * 4
        assert "CUDA error" in failed[0].json()["error"]["message"]
        assert events.until("model_unload_complete", instanceId="card")["reason"] == "failing"
        house.catch_up(events)
        (told,) = events.find("error", operation="engine")
        assert "failed 3 different requests in a row and is replaced" in told["error"]
        assert house.chat("Hello", model="card").json()["choices"][0]["message"]["content"] == "card: Hello"
        events.until("model_load_complete", nth=2)
