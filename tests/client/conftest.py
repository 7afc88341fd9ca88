"""Both kinds of client; nothing of the tester's own environment; pauses without waiting."""

from __future__ import annotations

import pytest

from lanhaven import AsyncClient, Client
from lanhaven.client import _protocol
from lanhaven.config.environ import environment

OURS = ("LANHAVEN_", "LM_STUDIO_", "GATEWAY_ENV", "APP_ENV")


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type[Client] | type[AsyncClient]:
    found: type[Client] | type[AsyncClient] = request.param
    return found


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment():
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setattr(_protocol, "FIRST_PAUSE", 0.001)
