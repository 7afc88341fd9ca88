"""The history over the life of a real process: a clean stop loses nothing, and neither does the next start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.house_process import HouseProcess, environment, running, until

MODELS = "models: [{id: alpha, provider: mock, enabled: true}]"


def lanhaven(home: Path, *words: str) -> str:
    """What a command of the same user writes."""
    command = [sys.executable, "-m", "lanhaven", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment(home)).stdout


def rows(house: HouseProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.get("/debug/history/requests")["requests"]
    return found


def test_from_one_run_to_the_next(tmp_path: Path) -> None:
    with running(tmp_path, MODELS, "--provider", "mock") as house:
        house.answer("hello", model="alpha")
        assert [row["model"] for row in rows(house)] == ["alpha"]
        house.answer("again", model="alpha")
        assert house.stop() == 0  # at once: what was not written yet is written now
    with running(tmp_path, MODELS, "--provider", "mock") as house:
        assert [row["status"] for row in rows(house)] == ["completed", "completed"]
        assert "alpha\t2\t0\t" in lanhaven(tmp_path, "usage", "--by", "model")
        phases = json.loads(lanhaven(tmp_path, "inspect", "--json"))["phases"]
        assert phases[-1]["name"] == "generate"
        check_logs(house)


def check_logs(house: HouseProcess) -> None:
    """The server's own log is there, also while it is followed."""
    with house.http.stream("GET", "/debug/logs/stream?source=server") as reply:
        lines = reply.iter_lines()
        house.load("alpha")
        line = next(each for each in lines if "model_loaded" in each)
        assert json.loads(line.removeprefix("data: "))["level"] == "info"
        texts = [each["text"] for each in house.get("/debug/logs")["lines"]]
        assert any(text.startswith("model_loaded model=alpha") for text in texts)
        house.process.terminate()
        assert any(each == "event: shutdown" for each in lines)
    until(lambda: house.process.poll() is not None, "a reader of the log keeps the server from ending")
    assert "Traceback" not in house.log
