"""The page's own tests of its logic (ui/src/**/*.test.ts). Its types are looked at by scripts/check."""

from __future__ import annotations

import subprocess

from tests.js.node import node
from tests.ui.pages import UI


def test_the_logic_of_the_page() -> None:
    node()
    done = subprocess.run(
        ["npm", "--silent", "test"], cwd=UI, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"npm test\n{done.stdout}{done.stderr}"
