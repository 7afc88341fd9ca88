"""The scripts for Windows. Nothing here can run them: they are held to what can be seen in their text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "packaging" / "windows"
INSTALL, UNINSTALL = FOLDER / "install-task.ps1", FOLDER / "uninstall-task.ps1"
SCRIPTS = (INSTALL, UNINSTALL)
# Of the modules that come with Windows 10 and later: Microsoft.PowerShell.*, ScheduledTasks.
CMDLETS = frozenset(
    {"Set-StrictMode", "Get-Command", "Test-Path", "Resolve-Path", "New-TimeSpan", "Out-Null", "Write-Output"}
    | {"New-ScheduledTaskAction", "New-ScheduledTaskTrigger", "New-ScheduledTaskPrincipal", "Register-ScheduledTask"}
    | {"New-ScheduledTaskSettingsSet", "Start-ScheduledTask", "Get-ScheduledTask", "Stop-ScheduledTask"}
    | {"Unregister-ScheduledTask"}
)


def code(path: Path) -> str:
    """Without its manual and comments."""
    text = re.sub(r"<#.*?#>", "", path.read_text(encoding="ascii"), flags=re.DOTALL)
    return re.sub(r"(?m)^\s*#.*$", "", text)


def bare(text: str) -> str:
    """Without what stands in quotes."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_bracket_is_closed(path: Path) -> None:
    open_ones: list[str] = []
    for sign in re.findall(r"[(){}\[\]]", bare(code(path))):
        if sign in "({[":
            open_ones.append(sign)
        else:
            assert open_ones.pop() + sign in ("()", "{}", "[]")
    assert not open_ones


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_only_commands_that_windows_has(path: Path) -> None:
    used = set(re.findall(r"\b[A-Z][a-z]+-[A-Z][A-Za-z]+\b", bare(code(path))))
    assert used
    assert used <= CMDLETS


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_mistake_ends_it(path: Path) -> None:
    """A variable that was never set is an error, and an error is the end."""
    assert "Set-StrictMode -Version Latest" in code(path)
    assert "$ErrorActionPreference = 'Stop'" in code(path)


@pytest.mark.req("S0-x16")
def test_what_one_makes_the_other_takes_away() -> None:
    (made,), (ended,) = (re.findall(r"\[string\] \$TaskName = '(\w+)'", code(path)) for path in SCRIPTS)
    assert made == ended
    assert "Register-ScheduledTask @task" in code(INSTALL)
    assert "Unregister-ScheduledTask -TaskName $TaskName" in code(UNINSTALL)


@pytest.mark.req("S0-x16")
def test_the_server_is_started_as_a_service_is() -> None:
    """By itself, again after a failure, for as long as it likes, with no more rights than needed, and no key in sight."""
    text = code(INSTALL)
    assert "@('up') + $Arguments" in text
    for said in (
        "-AtLogOn",
        "-AtStartup",
        "-RestartCount",
        "-ExecutionTimeLimit ([TimeSpan]::Zero)",
        "-RunLevel Limited",
    ):
        assert said in text
    assert not re.search(r"key|password|token", text, re.IGNORECASE)
