"""A firewall of this machine that would keep others out, and the one command that lets them in. Never run here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

Which = Callable[[str], str | None]


def hint(port: int, *, system: str = sys.platform, root: Path = Path("/"), which: Which = shutil.which) -> str | None:
    """The command, where a firewall seems to be on; None where none is seen. Looks at files only, and needs no rights.

    nftables' own rules can only be read by root, so of it is told what to look at.
    """
    match system:
        case "win32":
            return (
                'netsh advfirewall firewall add rule name="LanHaven" dir=in action=allow protocol=TCP '
                f"localport={port} profile=private   (as administrator)"
            )
        case "darwin":
            tool = root / "usr/libexec/ApplicationFirewall/socketfilterfw"
            if not tool.exists():
                return None
            return f"sudo {tool} --add {sys.executable}   (if the firewall is on: System Settings, Network)"
        case _:
            return _on_linux(port, root, which)


def _on_linux(port: int, root: Path, which: Which) -> str | None:
    if "enabled=yes" in _text(root / "etc/ufw/ufw.conf").lower().replace(" ", ""):
        return f"sudo ufw allow {port}/tcp"
    if which("firewall-cmd") and any(
        (root / each).exists() for each in ("run/firewalld.pid", "run/firewalld/firewalld.pid")
    ):
        return f"sudo firewall-cmd --add-port={port}/tcp --permanent && sudo firewall-cmd --reload"
    rules = _text(root / "etc/nftables.conf")
    wanted = root / "etc/systemd/system/sysinit.target.wants/nftables.service"
    if "hook input" in rules and "drop" in rules and (wanted.exists() or wanted.is_symlink()):
        return (
            f"sudo nft add rule inet filter input tcp dport {port} accept   (table and chain as in /etc/nftables.conf)"
        )
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
