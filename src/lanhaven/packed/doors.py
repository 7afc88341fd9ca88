"""The ways to a wheel: pip, and uv for environments without pip. Their own settings (index, proxy, certificate) apply.

Both are told: this one package, no dependencies, no building, only the pinned hash. pip of this interpreter goes
first, then that of the interpreter which this environment was made from (`uv venv` puts no pip into an environment),
then uv.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_PROBE_TIMEOUT = 30.0  # seconds for `pip --version`

# pip downloads into the temporary folder of tempfile; ours, so that what has arrived can be seen, and is on one disk.
_PIP = (
    "import runpy, sys, tempfile; tempfile.tempdir = sys.argv.pop(1); runpy.run_module('pip', None, '__main__', True)"
)


@dataclass(frozen=True, slots=True)
class Door:
    """A command that puts the wheel, or its contents, somewhere below the working folder."""

    name: str
    command: tuple[str, ...]


def doors(requirements: Path, work: Path, environment: Mapping[str, str] | None) -> Iterator[Door]:
    """The commands that exist on this machine, best first. `requirements` is a file that pins version and hash."""
    for python in _pythons(environment):
        yield Door(f"pip of {python}", _pip(python, requirements, work))
    for uv in _uvs():
        yield Door(uv, _uv(uv, requirements, work, environment))


def _pythons(environment: Mapping[str, str] | None) -> Iterator[str]:
    if find_spec("pip") is not None:
        yield sys.executable
    base = _base_python()
    if base != sys.executable and _answers([base, "-P", "-m", "pip", "--version"], environment):
        yield base


def _base_python() -> str:
    if sys.platform == "win32":
        return str(Path(sys.base_prefix, "python.exe"))
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))


def _uvs() -> Iterator[str]:
    beside = Path(sys.executable).parent
    clone = Path(sys.prefix).parent / ".tools" / "bin"
    found = (shutil.which("uv", path=str(folder)) for folder in (beside, clone))
    yield from dict.fromkeys(uv for uv in (*found, shutil.which("uv")) if uv)


def _pip(python: str, requirements: Path, work: Path) -> tuple[str, ...]:
    return (
        *(
            python,
            "-P",
            "-c",
            _PIP,
            str(work),
            "download",
            "--requirement",
            str(requirements),
            "--dest",
            str(work / "wheel"),
        ),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"),
    )


def _uv(uv: str, requirements: Path, work: Path, environment: Mapping[str, str] | None) -> tuple[str, ...]:
    # Behind a proxy that opens TLS only the system's certificates fit; older versions know the option by another name.
    help_text = _answers([uv, "pip", "install", "--help"], environment) or ""
    certificates = "--system-certs" if "--system-certs" in help_text else "--native-tls"
    return (
        *(uv, "pip", "install", "--requirements", str(requirements), "--target", str(work / "target")),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes", "--cache-dir", str(work / "cache")),
        *("--python", sys.executable, "--no-progress", "--color", "never", certificates),
    )


def _answers(command: list[str], environment: Mapping[str, str] | None) -> str | None:
    """What the command prints; None if it does not run or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
