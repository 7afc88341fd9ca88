"""The key store: what is kept, who may read it, and how soon a change is felt."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import InvalidRequest, NotFound, StorageFull
from lanhaven.keys import key_file
from lanhaven.keys.key import Terms
from lanhaven.keys.store import ALL_SCOPES, KeyFileError, KeyScope, KeyStore

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
STRONG = "k3y-0f-my-0wn-ch01ce"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conf" / "keys.sqlite3"


def test_a_key_is_shown_once_and_only_its_digest_is_kept(path: Path) -> None:
    store = KeyStore(path)
    secret = store.add("laptop", {KeyScope.INFERENCE})
    assert secret.startswith("sk-lan-")
    assert len(secret) == len("sk-lan-") + 43
    kept = path.read_bytes()
    assert secret.encode() not in kept
    assert secret[12:].encode() not in kept
    assert hashlib.sha256(secret.encode()).digest() in kept
    (key,) = store.list()
    assert (key.name, key.scopes, key.prefix, key.source) == ("laptop", {KeyScope.INFERENCE}, secret[:11], "file")
    assert key.created is not None
    assert secret not in repr(key)
    assert hashlib.sha256(secret.encode()).hexdigest() not in repr(key)


def test_a_key_can_have_the_form_of_lm_studios_tokens_and_keeps_it(path: Path) -> None:
    form = re.compile(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}")
    store = KeyStore(path)
    token = store.add("phone", lmstudio=True)
    assert form.fullmatch(token)
    assert store.verify(token) is not None
    renewed = store.rotate("phone")
    assert form.fullmatch(renewed)
    assert renewed != token
    assert not form.fullmatch(store.add("other"))


def test_verify_knows_exactly_its_keys(path: Path) -> None:
    store = KeyStore(path, api_key=STRONG)
    first, second = store.add("first"), store.add("second", {KeyScope.DEBUG})
    found = store.verify(second)
    assert found is not None
    assert (found.name, found.scopes) == ("second", {KeyScope.DEBUG})
    settings_key = store.verify(STRONG)
    assert settings_key is not None
    assert (settings_key.name, settings_key.scopes, settings_key.source) == ("settings", ALL_SCOPES, "settings")
    for wrong in ("", first[:-1], first + "x", first.upper(), "\ud800", b"\xff\xfe", "x" * 100_000):
        assert store.verify(wrong) is None


@posix_only
@pytest.mark.req("F-174")
def test_the_file_is_private_from_the_first_moment(path: Path) -> None:
    before = os.umask(0)
    try:
        KeyStore(path).add("one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


@posix_only
@pytest.mark.req("F-174")
def test_a_file_that_others_can_read_is_closed_and_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = KeyStore(path).add("one")
    path.chmod(0o644)
    assert KeyStore(path).verify(secret) is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "other users could read" in caplog.text


@pytest.mark.parametrize("content", [b"{", b"no database at all" * 100])
def test_a_damaged_file_keeps_the_server_from_starting(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"keys\.sqlite3 is damaged") as raised:
        KeyStore(path)
    assert "lanhaven keys add" in (raised.value.hint or "")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE keys SET terms = '{'",
        "UPDATE keys SET terms = '{}'",
        "UPDATE keys SET digest = x'00'",
        """UPDATE keys SET terms = replace(terms, 'admin', 'all')""",
        "PRAGMA user_version = 2",
    ],
)
def test_rows_that_are_no_keys_keep_the_server_from_starting(path: Path, damage: str) -> None:
    KeyStore(path).add("one")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(damage)
    with pytest.raises(KeyFileError, match=r"keys\.sqlite3 is damaged"):
        KeyStore(path)


def test_names_and_scopes_are_checked(path: Path) -> None:
    store = KeyStore(path)
    store.add("one")
    for bad in ("", "one", "settings", "-x", "a b", "a/b", "a\nb", "x" * 65, "ä"):
        with pytest.raises(InvalidRequest):
            store.add(bad)
    with pytest.raises(InvalidRequest):
        store.add("two", [])
    with pytest.raises(NotFound):
        store.revoke("two")
    with pytest.raises(NotFound):
        KeyStore(path.with_name("empty.json")).rotate("two")
    assert [key.name for key in store.list()] == ["one"]


def test_rotation_and_revocation_take_effect_at_once(path: Path) -> None:
    store = KeyStore(path)
    old, other = store.add("one", {KeyScope.ADMIN}), store.add("other")
    new = store.rotate("one")
    assert store.verify(old) is None
    found = store.verify(new)
    assert found is not None
    assert (found.name, found.scopes) == ("one", {KeyScope.ADMIN})
    store.revoke("one")
    assert store.verify(new) is None
    assert store.verify(other) is not None


@pytest.mark.req("F-154")
def test_another_process_is_heard_within_a_second(path: Path) -> None:
    clock = Clock()
    server, command = KeyStore(path, clock=clock), KeyStore(path)
    assert not server.required
    first = command.add("first")
    clock.now += 1
    assert server.required
    assert server.verify(first) is not None
    second = command.rotate("first")
    clock.now += 1
    assert server.verify(first) is None
    assert server.verify(second) is not None


@pytest.mark.req("F-154")
def test_a_change_right_behind_ones_own_is_heard(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    server, command = KeyStore(path, clock=clock), KeyStore(path)
    added: list[str] = []
    change = key_file.change

    def followed(*words: Any) -> Any:
        keys = change(*words)
        if not added:
            added.append("")
            added[0] = command.add("theirs")
        return keys

    monkeypatch.setattr(key_file, "change", followed)
    mine = server.add("mine")
    assert server.verify(mine) is not None
    clock.now += 1
    assert server.verify(mine) is not None
    assert server.verify(added[0]) is not None


def test_changes_by_threads_of_one_store_are_all_there_at_once(path: Path) -> None:
    store = KeyStore(path, clock=Clock())
    secrets: list[str] = []
    threads = [threading.Thread(target=lambda n=n: secrets.append(store.add(f"key-{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.verify(secret) is not None for secret in secrets)


def test_keys_that_are_gone_do_not_open_the_door(path: Path) -> None:
    clock = Clock()
    store = KeyStore(path, clock=clock)
    secret = store.add("only")
    store.revoke("only")
    assert store.required
    again = store.add("again")
    path.unlink()
    clock.now += 1
    assert store.required
    assert store.verify(again) is None
    assert store.verify(secret) is None
    assert not KeyStore(path).required


@pytest.mark.req("F-172")
def test_a_file_that_breaks_while_serving_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    store = KeyStore(path, clock=clock)
    secret = store.add("one")
    good = path.read_bytes()
    path.write_bytes(b"{" + good[1:])
    for _ in range(5):
        clock.now += 1
        assert store.verify(secret) is not None
    assert caplog.text.count("stay as they were") == 1
    path.write_bytes(good)
    other = KeyStore(path).add("two")
    clock.now += 1
    assert store.verify(secret) is not None
    assert store.verify(other) is not None


def test_a_run_token_works_but_does_not_close_the_door(path: Path) -> None:
    store = KeyStore(path)
    store.trust("token-of-this-run")
    found = store.verify("token-of-this-run")
    assert found is not None
    assert found.scopes == ALL_SCOPES
    assert not store.required
    assert store.list() == ()
    assert not path.exists()


def test_the_time_of_last_use_is_kept_in_memory_and_flushed(path: Path) -> None:
    clock = Clock()
    store = KeyStore(path, clock=clock)
    secret = store.add("one")
    store.add("unused")
    before = path.read_bytes()
    store.verify(secret)
    assert path.read_bytes() == before
    assert [key.last_used is not None for key in store.list()] == [True, False]
    added = KeyStore(path).add("added meanwhile".replace(" ", "-"))
    store.flush()
    fresh = KeyStore(path)
    assert [key.last_used is not None for key in fresh.list()] == [True, False, False]
    assert fresh.verify(added) is not None


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """The database may take no further page."""
    connect = sqlite3.connect

    def limited(*words: object, **named: object) -> sqlite3.Connection:
        database = connect(*words, **named)  # type: ignore[call-overload]
        assert isinstance(database, sqlite3.Connection)
        database.execute("PRAGMA max_page_count = 1")
        return database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", limited)
        yield


@pytest.mark.req("F-173")
def test_a_write_that_fails_leaves_what_there_was(path: Path) -> None:
    store = KeyStore(path)
    secret = store.add("one")
    with full_disk(path), pytest.raises(StorageFull, match="No space left"):
        store.add("two", terms=Terms(models=tuple(f"{number}{'x' * 500}" for number in range(100))))
    names = [key.name for key in KeyStore(path).list()]
    assert names == [key.name for key in store.list()]
    assert KeyStore(path).verify(secret) is not None
    assert store.verify(secret) is not None


@pytest.mark.req("F-173")
def test_times_of_last_use_that_cannot_be_written_are_lost_and_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = KeyStore(path)
    secret = store.add("one")
    path.write_bytes(b"{" + path.read_bytes()[1:])
    for _ in range(2):
        assert store.verify(secret) is not None
        store.flush()
    assert caplog.text.count("the times of last use are lost") == 1


def test_changes_at_the_same_time_are_all_kept(path: Path) -> None:
    def add(name: str) -> None:
        KeyStore(path).add(name)

    threads = [threading.Thread(target=add, args=(f"key-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in KeyStore(path).list()} == {f"key-{n}" for n in range(8)}
