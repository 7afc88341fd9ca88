"""models.yaml of a running server: what a person writes into it holds without a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house_process import running, until

FILE = "models:\n  - {id: alpha, provider: mock}\n"


@pytest.mark.req("F-172", "S4-24", "S4-25")
def test_a_change_of_the_file_holds_by_itself_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    with running(tmp_path, FILE, "--provider", "mock") as house, house.events() as events:
        path.write_text(FILE + "  - {id: beta, provider: mock, preload: true}\n")
        events.until("catalog_changed", added=["beta"])
        until(lambda: "beta" in house.loaded(), "the model that is to be loaded from now on")
        path.write_text(FILE + "  - {id: beta, provder: mock}\n")
        failed = events.until("error")
        assert (failed["operation"], failed["error"].partition(" ")[0]) == ("reload", "models.yaml:3:")
        assert house.chat("Hello", model="beta").status_code == 200
        until(lambda: "reload_failed" in house.log, "a line in the log")
        path.write_text(FILE)
        events.until("catalog_changed", removed=["beta"])
        until(lambda: "beta" not in house.loaded(), "the end of an instance that nobody uses")
