"""Which listening addresses serve this machine only."""

from __future__ import annotations

import pytest

from lanhaven.config.addresses import is_loopback_host


@pytest.mark.req("F-148")
@pytest.mark.parametrize("name", ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1"])
def test_plainly_loopback(name: str) -> None:
    assert is_loopback_host(name)


@pytest.mark.req("F-148")
@pytest.mark.parametrize(
    "name", ["127.1", "example.org", "0.0.0.0", "::", "192.168.1.5", "64:ff9b::7f00:1", "localhost.x"]
)
def test_anything_else_may_be_reached_by_others(name: str) -> None:
    assert not is_loopback_host(name)
