"""The command that lets others in, for each firewall."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.network.firewall import hint


def there(name: str) -> str:
    return f"/usr/bin/{name}"


def nothing(name: str) -> None:
    return None


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_machine_without_one(tmp_path: Path) -> None:
    assert hint(8002, system="linux", root=tmp_path, which=nothing) is None
    assert hint(8002, system="darwin", root=tmp_path) is None


@pytest.mark.parametrize(("enabled", "said"), [("yes", "sudo ufw allow 8002/tcp"), ("no", None)])
def test_ufw(tmp_path: Path, enabled: str, said: str | None) -> None:
    write(tmp_path / "etc/ufw/ufw.conf", f"# comment\nENABLED={enabled}\n")
    assert hint(8002, system="linux", root=tmp_path, which=nothing) == said


def test_firewalld_that_runs(tmp_path: Path) -> None:
    assert hint(8002, system="linux", root=tmp_path, which=there) is None
    write(tmp_path / "run/firewalld.pid", "12")
    assert "firewall-cmd --add-port=8002/tcp" in str(hint(8002, system="linux", root=tmp_path, which=there))


def test_nftables_that_is_on_and_drops(tmp_path: Path) -> None:
    write(tmp_path / "etc/nftables.conf", "chain input { type filter hook input priority 0; policy drop; }")
    assert hint(8002, system="linux", root=tmp_path, which=nothing) is None
    write(tmp_path / "etc/systemd/system/sysinit.target.wants/nftables.service", "")
    assert "tcp dport 8002 accept" in str(hint(8002, system="linux", root=tmp_path, which=nothing))


def test_macos_and_windows(tmp_path: Path) -> None:
    write(tmp_path / "usr/libexec/ApplicationFirewall/socketfilterfw", "")
    assert "--add" in str(hint(8002, system="darwin", root=tmp_path))
    assert "localport=8002 profile=private" in str(hint(8002, system="win32"))
