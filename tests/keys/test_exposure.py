"""When a server may be reached by others: with a strong key only."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lanhaven.config import Settings
from lanhaven.keys.exposure import UnsafeBind, check_bind
from lanhaven.keys.store import KeyStore, weakness

STRONG = "k3y-0f-my-0wn-ch01ce"


@pytest.mark.req("F-148")
@pytest.mark.parametrize(
    ("key", "weak"),
    [
        ("change-me-please", True),
        ("Change-Me-Please", True),
        ("short-key-15chr", True),
        ("a" * 40, True),
        ("abab" * 10, True),
        (STRONG, False),
        ("sk-lan-" + "Zm9vYmFyYmF6cXV4" * 2, False),
    ],
)
def test_keys_that_can_be_guessed_are_weak(key: str, weak: bool) -> None:
    assert (weakness(key) is not None) is weak


def settings(tmp_path: Path, **given: object) -> Settings:
    return Settings.model_validate({"config_dir": str(tmp_path), **given})


@pytest.mark.req("F-148", "P16", "S3-19")
@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"lan": True},
        {"host": "192.168.1.5"},
        {"host": "some-name.lan"},
        {"also_listen": ["0.0.0.0:9000"]},
        {"trusted_proxies": ["10.0.0.0/8"]},
        {"host": "0.0.0.0", "api_key": "change-me-please"},
        {"host": "0.0.0.0", "api_key": "too-short"},
        {"host": "64:ff9b::808:808"},
    ],
    ids=str,
)
def test_an_exposed_server_without_a_strong_key_does_not_start(tmp_path: Path, given: dict[str, object]) -> None:
    chosen = settings(tmp_path, **given)
    with pytest.raises(UnsafeBind) as raised:
        check_bind(chosen, KeyStore.from_settings(chosen))
    assert raised.value.hint is not None
    assert "lanhaven up --lan" in raised.value.hint
    assert "lanhaven keys add NAME" in raised.value.hint


@pytest.mark.req("F-148")
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"host": "127.0.0.5"},
        {"host": "::1"},
        {"host": "localhost"},
        {"api_key": "weak"},
        {"host": "0.0.0.0", "api_key": STRONG},
    ],
    ids=str,
)
def test_a_server_for_this_machine_or_with_a_strong_key_starts(tmp_path: Path, given: dict[str, object]) -> None:
    chosen = settings(tmp_path, **given)
    check_bind(chosen, KeyStore.from_settings(chosen))


@pytest.mark.req("F-148")
def test_a_key_in_the_file_is_enough_but_does_not_excuse_a_weak_one(tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys.sqlite3").add("one")
    chosen = settings(tmp_path, host="0.0.0.0")
    check_bind(chosen, KeyStore.from_settings(chosen))
    weak = settings(tmp_path, host="0.0.0.0", api_key="change-me-please")
    with pytest.raises(UnsafeBind, match="sample"):
        check_bind(weak, KeyStore.from_settings(weak))


@pytest.mark.req("F-148")
def test_open_to_all_starts_and_says_so_every_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(tmp_path, host="0.0.0.0", open_to_all=True)
    for count in (1, 2):
        check_bind(chosen, KeyStore.from_settings(chosen))
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * count
    assert "OPEN TO ALL" in caplog.text
