"""The scripts at the root: set-up that is quick, repeatable and survives moves, changes and interruptions; lock files.

A stand-in for uv makes a real, empty environment and writes down how it was called; nothing is downloaded.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
CLIENT_LOCKS = (
    *("tests/clients/anthropic-0.lock", "tests/clients/frameworks.lock", "tests/mlx/requirements.lock"),
    "tests/providers/llamacpp/llama-cpp-python.lock",
)
SCRIPTS = (
    "lanhaven",
    "scripts/setup",
    "scripts/page",
    "scripts/test",
    "scripts/test-js",
    "scripts/check",
    "scripts/lock",
    ".ci/run",
)
COPIED = ("lanhaven", "pyproject.toml", "scripts", *LOCKS)

FAKE_UV = """#!/bin/sh
case $1 in --version) echo "uv 0.13.8"; exit 0 ;; esac
echo "$*" >>"$UV_CALLS"
env | grep -E '^(UV_|SSL_CERT)' | sort >"$UV_CALLS.env"
[ "${UV_FAILS_ON:-}" != "$1 $2" ] || { echo "uv says no" >&2; exit 1; }
for folder; do :; done
case $1 in venv) exec "$REAL_PYTHON" -m venv --clear --without-pip "$folder" ;; esac
"""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the scripts with a stand-in for uv on PATH."""

    root: Path
    home: Path

    def run(self, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home),
            "PATH": f"{self.home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LANHAVEN_PYTHON": sys.executable,
            "REAL_PYTHON": sys.executable,
            "UV_CALLS": str(self.home / "calls"),
            "PIP_CONFIG_FILE": "/dev/null",
            **extra,
        }
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=50
        )

    def setup(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        done = self.run("scripts/setup", *arguments, **extra)
        assert done.returncode == 0, done.stderr
        return done

    def calls(self) -> list[str]:
        """What uv was asked since the last look: `venv`, `runtime`, `dev`, `ourselves`."""
        log = self.home / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [_short(line) for line in lines]

    def uv_environment(self) -> dict[str, str]:
        lines = (self.home / "calls.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


def _short(call: str) -> str:
    words = {
        "pip install": "ourselves",
        "other": "other",
        "requirements-dev": "dev",
        "requirements.lock": "runtime",
        "venv ": "venv",
    }
    return next(short for word, short in words.items() if word in call)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root, home = tmp_path / "a checkout", tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    uv = home / "bin" / "uv"
    uv.write_text(FAKE_UV)
    uv.chmod(0o755)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, _made(root) / name)
    return Checkout(root, home)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_the_first_run_sets_up_and_the_second_does_nothing(checkout: Checkout) -> None:
    said = checkout.setup().stderr
    assert checkout.calls() == ["venv", "runtime", "ourselves"]
    assert re.search(r"packages of requirements.lock \d+\.\d s", said)

    assert "nothing to do" in checkout.setup().stderr
    assert checkout.setup("--quiet").stderr == ""
    assert checkout.calls() == []


def test_a_developers_environment_also_serves_the_plain_form(checkout: Checkout) -> None:
    checkout.setup()
    checkout.calls()
    checkout.setup("--dev")
    assert checkout.calls() == ["dev", "ourselves"]
    checkout.setup()
    assert checkout.calls() == []


def test_another_environment_is_made_once_and_leaves_the_first_alone(checkout: Checkout) -> None:
    lock = checkout.root / "other.lock"
    lock.write_text("x==1\n")
    for _ in range(2):
        checkout.setup("--quiet", "--other", ".tools/other", "other.lock")
    assert checkout.calls() == ["other", "other"]  # its environment, and its packages
    assert not (checkout.root / ".venv").exists()

    lock.write_text("x==2\n")
    failed = checkout.run("scripts/setup", "--other", ".tools/other", "other.lock", UV_FAILS_ON="pip sync")
    assert failed.returncode == 1
    checkout.calls()
    checkout.setup("--other", ".tools/other", "other.lock")
    assert checkout.calls() == ["other", "other"]
    assert checkout.run("scripts/setup", "--other", ".tools/other").returncode == 2


def test_changed_requirements_are_installed_and_the_tools_of_a_developer_kept(checkout: Checkout) -> None:
    checkout.setup("--dev")
    checkout.calls()
    lock = checkout.root / "requirements.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    checkout.setup()
    assert checkout.calls() == ["dev", "ourselves"]


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.setup()
    checkout.calls()
    moved = Checkout(checkout.root.rename(checkout.root.parent / "elsewhere"), checkout.home)
    moved.setup()
    assert moved.calls() == ["venv", "runtime", "ourselves"]


def test_after_a_failed_run_the_environment_is_made_anew(checkout: Checkout) -> None:
    failed = checkout.run("scripts/setup", UV_FAILS_ON="pip sync")
    assert failed.returncode == 1
    assert "uv says no" in failed.stderr
    assert "failed: packages of requirements.lock" in failed.stderr
    assert "Try  the same again when the package index can be reached" in failed.stderr
    checkout.calls()

    checkout.setup()
    assert checkout.calls() == ["venv", "runtime", "ourselves"]


def test_two_at_once_set_up_once(checkout: Checkout) -> None:
    both = checkout.run("sh", "-c", "scripts/setup & scripts/setup; wait")
    assert both.returncode == 0, both.stderr
    assert sorted(checkout.calls()) == ["ourselves", "runtime", "venv"]


def test_the_settings_of_pip_reach_uv_without_places_that_do_not_exist(checkout: Checkout) -> None:
    index = checkout.home.as_uri()
    checkout.setup(
        PIP_INDEX_URL="https://user:key@mirror.example/simple",
        PIP_EXTRA_INDEX_URL=f"file:///no/such/index {index}",
        PIP_FIND_LINKS=f"/no/such/folder {checkout.home}",
        PIP_CERT=str(checkout.home / "bin" / "uv"),
    )
    found = checkout.uv_environment()
    assert found["UV_DEFAULT_INDEX"] == "https://user:key@mirror.example/simple"
    assert found["UV_INDEX"] == index
    assert found["UV_FIND_LINKS"] == str(checkout.home)
    assert found["UV_SYSTEM_CERTS"] == "1"
    assert found["SSL_CERT_FILE"] == str(checkout.home / "bin" / "uv")


def test_the_files_of_pip_are_read_and_the_nearer_one_wins(checkout: Checkout) -> None:
    pip = _made(checkout.home / "pip")
    (pip / "__main__.py").write_text(
        "print(\"global.index-url='https://mirror.example/global'\")\n"
        "print(\"install.index-url='https://mirror.example/install'\")\n"
        "print(\"download.index-url='https://mirror.example/download'\")\n"
        "print(r\"global.extra-index-url='\\nhttps://mirror.example/b\\nhttps://mirror.example/c'\")\n"
        "print(\"global.timeout='7'\")\n"
    )
    checkout.setup(PYTHONPATH=str(checkout.home), PIP_TIMEOUT="9")
    found = checkout.uv_environment()
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.example/install"
    assert found["UV_INDEX"] == "https://mirror.example/b https://mirror.example/c"
    assert found["UV_HTTP_TIMEOUT"] == "9"


def test_what_the_user_tells_uv_wins_over_the_settings_of_pip(checkout: Checkout) -> None:
    checkout.setup(PIP_INDEX_URL="https://mirror.example/a", UV_DEFAULT_INDEX="https://mirror.example/b")
    assert checkout.uv_environment()["UV_DEFAULT_INDEX"] == "https://mirror.example/b"


@pytest.mark.parametrize("home", ["", "relative", "/dev/null", "/no/such/home"])
def test_an_odd_home_moves_the_cache_into_the_checkout(checkout: Checkout, home: str) -> None:
    checkout.setup(HOME=home)
    assert checkout.uv_environment()["UV_CACHE_DIR"] == str(checkout.root / ".tools" / "cache" / "uv")


def test_a_python_that_is_too_old_is_named_with_a_way_out(checkout: Checkout, tmp_path: Path) -> None:
    folder = _made(tmp_path / "old")
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"):
        (folder / name).write_text("#!/bin/sh\necho old 3.9.2 /opt/python3.9\n")
        (folder / name).chmod(0o755)
    script = checkout.root / "scripts" / "setup"
    script.write_text(re.sub(r"\\\n +/usr/bin/python3 [^;]*;", ";", script.read_text()))
    done = checkout.run("scripts/setup", PATH=f"{folder}:/usr/bin:/bin", LANHAVEN_PYTHON="")
    assert done.returncode == 1
    assert "3.11 or newer is needed, found 3.9.2 /opt/python3.9" in done.stderr
    assert "Try  " in done.stderr


def test_the_bootstrap_runs_from_anywhere_and_through_links(checkout: Checkout, tmp_path: Path) -> None:
    checkout.setup()
    site = next((checkout.root / ".venv" / "lib").glob("python*/site-packages"))
    target = _made(site / "lanhaven")
    (target / "__main__.py").write_text("import sys\nprint(sys.argv[1:])\n")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(checkout.root / "lanhaven")

    done = checkout.run("sh", "-c", f"cd '{tmp_path}' && ./one ls 'a b'")
    assert (done.stdout, done.stderr) == ("['ls', 'a b']\n", "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
    assert subprocess.run([shell, "-n", str(path)], check=False).returncode == 0


def _pins(name: str) -> dict[str, str]:
    """Package -> everything that pins it, markers too."""
    lines = (ROOT / name).read_text().splitlines()
    pins: dict[str, str] = {}
    for line in lines:
        if match := re.match(r"([a-z0-9-]+)==(.*?) *\\?$", line):
            pins[match[1]] = f"{pins.get(match[1], '')} {match[2]}".strip()
    return pins


@pytest.mark.req("S4-03")
def test_one_file_of_tests_runs_alone() -> None:
    command = [ROOT / "scripts/test", "tests/test_wire.py", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout


@pytest.mark.req("S4-04")
def test_the_lock_files_hold_what_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = declared["project"]
    extras = project["optional-dependencies"]
    runtime = [*project["dependencies"], *extras["llamacpp"], *extras["vision"]]
    for name, lines in (
        ("requirements.lock", runtime),
        ("requirements-dev.lock", [*runtime, *declared["dependency-groups"]["dev"]]),
        ("requirements-build.lock", [*declared["build-system"]["requires"], "uv"]),
    ):
        wanted = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].replace(".", "-") for line in lines}
        assert wanted <= _pins(name).keys(), f"{name}: run scripts/lock"


def test_the_lock_of_a_developer_has_the_versions_of_the_server() -> None:
    assert _pins("requirements.lock").items() <= _pins("requirements-dev.lock").items()


@pytest.mark.req("P28")
@pytest.mark.parametrize("name", [*LOCKS, *CLIENT_LOCKS])
def test_every_locked_package_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9-]+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in text
    assert " @ " not in text
