"""How a module of ours is run as a child, by the very interpreter that runs the gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]  # the folder that holds the package: site-packages, or src of a checkout


def module_command(module: str, *arguments: str) -> list[str]:
    """-P keeps the working folder off the module path: a json.py lying there would be run as our child."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base`, so that the child finds this very package however the gateway was started."""
    path = os.pathsep.join(filter(None, (str(ROOT), base.get("PYTHONPATH"))))
    return {**base, "PYTHONPATH": path}
