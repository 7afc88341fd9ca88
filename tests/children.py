"""The child processes of a test: what it started must be gone when it ends."""

from __future__ import annotations

import psutil


def own_children() -> list[psutil.Process]:
    """Children of this process and theirs, without the servers that a session fixture keeps for other tests."""
    kept = [each for each in psutil.Process().children() if {"lanhaven", "up"} <= set(each.cmdline())]
    theirs = {each.pid for server in kept for each in (server, *server.children(recursive=True))}
    return [each for each in psutil.Process().children(recursive=True) if each.pid not in theirs]
