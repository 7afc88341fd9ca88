"""keys.json, of earlier versions, is taken over once."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from lanhaven.keys.key import KeyScope
from lanhaven.keys.making import digest_of
from lanhaven.keys.store import KeyFileError, KeyStore

SECRETS = {"anna": "sk-lan-anna-and-more", "desk": "sk-lan-desk-and-more"}


def entry(name: str, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "sha256": digest_of(SECRETS[name]).hex(),
        "prefix": "sk-lan-anna",
        "scopes": ["inference"],
        "created": "2026-11-01T10:00:00Z",
        "last_used": None,
        **more,
    }


def written(folder: Path, *entries: dict[str, object]) -> Path:
    file = folder / "keys.json"
    file.write_text(json.dumps({"version": 1, "keys": entries}))
    file.chmod(0o600)
    return file


def test_keys_of_an_earlier_version_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    used = "2026-11-02T10:00:00Z"
    old = written(tmp_path, entry("anna", last_used=used), entry("desk", scopes=["admin", "debug", "inference"]))
    content = old.read_bytes()
    store = KeyStore(tmp_path / "keys.sqlite3")
    assert store.required
    assert {name: store.verify(secret) is not None for name, secret in SECRETS.items()} == {"anna": True, "desk": True}
    anna, desk = KeyStore(tmp_path / "keys.sqlite3").list()
    assert (anna.created, anna.last_used) == (1793527200.0, 1793613600.0)
    assert (anna.scopes, desk.scopes) == ({KeyScope.INFERENCE}, frozenset(KeyScope))
    assert not old.exists()
    kept = tmp_path / "keys.json.taken-over"
    assert kept.read_bytes() == content
    if os.name == "posix":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert caplog.text.count("taken-over") == 1


def test_it_is_taken_over_once(tmp_path: Path) -> None:
    """A crash between taking over and the new name does not bring a key back that was revoked since."""
    old = written(tmp_path, entry("anna"), entry("desk"))
    content = old.read_bytes()
    KeyStore(tmp_path / "keys.sqlite3").revoke("anna")
    old.write_bytes(content)
    store = KeyStore(tmp_path / "keys.sqlite3")
    assert [each.name for each in store.list()] == ["desk"]
    assert not old.exists()


def test_a_newer_one_adds_what_is_not_there(tmp_path: Path) -> None:
    """Somebody ran an earlier version again meanwhile."""
    written(tmp_path, entry("anna"))
    KeyStore(tmp_path / "keys.sqlite3").change("anna", {KeyScope.DEBUG})
    written(tmp_path, entry("anna"), entry("desk"))
    anna, desk = KeyStore(tmp_path / "keys.sqlite3").list()
    assert (anna.scopes, desk.name) == ({KeyScope.DEBUG}, "desk")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 1, "keys": [{}]}',
        '{"version": 1, "keys": [1]}',
        '{"version": 2, "keys": []}',
        '{"version": 1, "keys": [{"name": "a", "sha256": "00", "prefix": "", "scopes": [], "created": ""}]}',
        '{"version": 1, "keys": [{"name": "a", "sha256": "%s", "prefix": "", "scopes": ["all"], "created": ""}]}'
        % ("00" * 32),
        json.dumps({"version": 1, "keys": [entry("anna"), entry("anna")]}),
    ],
)
def test_a_damaged_one_keeps_the_server_from_starting(tmp_path: Path, content: str) -> None:
    old = tmp_path / "keys.json"
    old.write_text(content)
    old.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"keys\.json") as raised:
        KeyStore(tmp_path / "keys.sqlite3")
    assert "lanhaven keys add" in (raised.value.hint or "")
    assert old.read_text() == content
    assert not (tmp_path / "keys.sqlite3").exists()
