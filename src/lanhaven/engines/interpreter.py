"""How a module of ours is run as a child: by the gateway's own interpreter, or by another that has the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]  # the folder that holds the package: site-packages, or src of a checkout
ASK_SECONDS = 20.0

# In another environment the package must be this very one, and all else that environment's own: ROOT may be the
# site-packages of the gateway, whose compiled modules may be for another Python.
_BORROWED = """
import importlib.util, runpy, sys
folder, module = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("lanhaven", folder + "/__init__.py", submodule_search_locations=[folder])
package = sys.modules["lanhaven"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
sys.argv[1:3] = []
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""


def module_command(module: str, *arguments: str, python: Path | None = None) -> list[str]:
    """-P keeps the working folder off the module path: a json.py lying there would be run as our child.

    `python`: another interpreter; it needs what the module imports, but not this package.
    """
    if python is not None:
        return [str(python), "-P", "-c", _BORROWED, str(ROOT / "lanhaven"), module, *arguments]
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(base: Mapping[str, str], *, python: Path | None = None) -> dict[str, str]:
    """`base`, so that the child finds this very package however the gateway was started.

    For another interpreter without PYTHONPATH: what lies there was installed for ours.
    """
    if python is not None:
        return {name: value for name, value in base.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    path = os.pathsep.join(filter(None, (str(ROOT), base.get("PYTHONPATH"))))
    return {**base, "PYTHONPATH": path}


def installed_in(python: Path, packages: Sequence[str], base: Mapping[str, str]) -> dict[str, str | None]:
    """Versions of packages in another interpreter's environment, None for those that are not there.

    Takes some hundredths of a second. OSError: it cannot be run; ValueError: it is no Python that we can use.
    """
    command = [str(python), "-P", "-c", _VERSIONS, *packages]
    environment = module_environment(base, python=python)
    try:
        asked = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it does not answer within {ASK_SECONDS:g} seconds") from None
    if asked.returncode != 0:
        raise ValueError("it is no Python 3.11 or newer")
    found: dict[str, str | None] = json.loads(asked.stdout)
    return found
