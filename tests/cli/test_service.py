"""`service` in an empty home, with a systemctl that writes down what it is told."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from lanhaven.cli.service import program
from lanhaven.cli.service_files import launchd_agent, systemd_unit
from tests.house_process import environment

SYSTEMCTL = '#!/bin/sh\necho "$@" >> "$HOME/told"\n[ "$LANHAVEN_TEST_FAILS" != 1 ] || { echo "no bus" >&2; exit 1; }\n'


class Home:
    """An empty home whose PATH has a systemctl of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = folder / "tools"
        tools.mkdir()
        (tools / "systemctl").write_text(SYSTEMCTL)
        (tools / "systemctl").chmod(0o755)
        known = environment(folder)
        self.environment = {**known, "PATH": f"{tools}:{known['PATH']}"}
        self.environment.pop("XDG_CONFIG_HOME", None)
        self.unit = folder / ".config/systemd/user/lanhaven.service"

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lanhaven", "service", *words],
            env={**self.environment, **more}, capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip

    def told(self) -> list[str]:
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="systemd")
def test_it_is_installed_once_changed_and_taken_away(home: Home) -> None:
    assert home("status").returncode == 5
    shown = home("install", "--print")
    assert shown.stdout.startswith("[Unit]")
    assert not home.unit.exists()
    assert home("install").returncode == 0
    assert home.unit.read_text() == shown.stdout
    assert home.told() == ["--user daemon-reload", "--user enable --now lanhaven.service"]
    again = home("install")
    assert "is as it should be" in again.stderr
    assert home.told() == ["--user daemon-reload", "--user enable --now lanhaven.service"]
    assert home("install", "--tls").returncode == 0
    assert "up --no-open --tls" in home.unit.read_text()
    assert home.told()[0] == "--user disable --now lanhaven.service"
    assert home("uninstall").returncode == 0
    assert not home.unit.exists()
    assert "nothing to do" in home("uninstall").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="systemd")
def test_others_are_let_in_with_a_key_only(home: Home) -> None:
    refused = home("install", "--lan")
    assert (refused.returncode, home.unit.exists()) == (1, False)
    assert "lanhaven keys add NAME" in refused.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="systemd")
def test_a_failing_systemctl_is_told(home: Home) -> None:
    failed = home("install", LANHAVEN_TEST_FAILS="1")
    assert failed.returncode == 1
    assert "systemctl --user daemon-reload failed: no bus" in failed.stderr


def test_the_unit_is_one_and_restarts(tmp_path: Path) -> None:
    parsed = RawConfigParser(strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(systemd_unit(["/a b/lanhaven", "up", "--no-open"], {"LANHAVEN_CONFIG": "/x/50%.yaml"}))
    service = parsed["Service"]
    assert service["ExecStart"] == '"/a b/lanhaven" up --no-open'
    assert (service["Restart"], service["Environment"]) == ("on-failure", "LANHAVEN_CONFIG=/x/50%%.yaml")
    if shutil.which("systemd-analyze") is None:
        return
    path = tmp_path / "lanhaven.service"
    path.write_text(systemd_unit([*program(), "up", "--no-open"], {"LANHAVEN_CONFIG": "/x y/50%.yaml"}))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(path)],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, "lanhaven.service" in checked.stderr) == (0, False), checked.stderr


def test_the_agent_is_a_property_list(tmp_path: Path) -> None:
    made = plistlib.loads(
        launchd_agent(["/a & b/lanhaven", "up"], {"LANHAVEN_CONFIG": "<x>"}, tmp_path / "log").encode()
    )
    assert made["ProgramArguments"] == ["/a & b/lanhaven", "up"]
    assert made["KeepAlive"] == {"SuccessfulExit": False}
    assert made["EnvironmentVariables"] == {"LANHAVEN_CONFIG": "<x>"}
