"""The page's types are those of the server: made of its OpenAPI document, and not behind it."""

from __future__ import annotations

import subprocess
import sys

from tests.js.node import ROOT, node


def test_the_types_are_made_of_the_document_as_it_is() -> None:
    node()
    command = [sys.executable, str(ROOT / "scripts/ui-types"), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
