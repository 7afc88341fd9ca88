"""What bounds a key: its end, where it is good, which models; and the time that an old key has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.errors import Forbidden, InvalidRequest, NotFound, Unauthorized
from lanhaven.keys.admission import KeyAdmission
from lanhaven.keys.key import KeyScope, Limits, Terms, moment
from lanhaven.keys.making import digest_of
from lanhaven.keys.store import KeyStore
from lanhaven.types.models import ModelInfo
from tests.keys.test_meters import EPOCH, Time

QWEN = ModelInfo("qwen3-4b", "mock", aliases=("small", "Maker/Qwen"))
OTHER = ModelInfo("smollm2", "mock")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite3", clock=time.clock, wall=time.wall)


def test_a_key_ends_when_it_is_to_end(store: KeyStore, time: Time) -> None:
    secret = store.add("anna", terms=Terms(expires=time.wall() + 60))
    assert store.verify(secret) is not None
    assert store.named("anna") is not None
    time.now += 60
    assert store.verify(secret) is None
    assert store.named("anna") is None
    assert store.expired(digest_of(secret))
    assert not store.expired(digest_of("another"))
    assert store.required  # it closes the door all the same
    store.change("anna", terms=Terms(expires=None))
    assert store.verify(secret) is not None


def test_bounds_survive_and_can_be_changed(store: KeyStore, tmp_path: Path, time: Time) -> None:
    terms = Terms(("qwen*",), time.wall() + 9, ("192.168.1.0/24", "::ffff:10.0.0.7/128"), Limits(1, 2, 3, 4))
    store.add("anna", {KeyScope.INFERENCE}, terms=terms)
    (key,) = KeyStore(tmp_path / "keys.sqlite3", clock=time.clock, wall=time.wall).list()
    assert key.terms == Terms(("qwen*",), time.wall() + 9, ("192.168.1.0/24", "10.0.0.7/32"), Limits(1, 2, 3, 4))
    time.now += 10
    store.change("anna", {KeyScope.DEBUG}, Terms(expires=key.terms.expires))  # ended, and left so
    (key,) = store.list()
    assert (key.scopes, key.terms) == ({KeyScope.DEBUG}, Terms(expires=key.terms.expires))


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        (Terms(networks=("192.168.1.5/24",)), "networks"),
        (Terms(networks=("everywhere",)), "networks"),
        (Terms(models=("",)), "models"),
        (Terms(models=("a\nb",)), "models"),
        (Terms(models=("x",) * 101), "models"),
        (Terms(expires=EPOCH), "expires"),
        (Terms(limits=Limits(requests_per_minute=0)), "requests_per_minute"),
        (Terms(limits=Limits(tokens_per_day=-1)), "tokens_per_day"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(store: KeyStore, terms: Terms, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        store.add("anna", terms=terms)
    assert refused.value.param == param
    assert store.list() == ()


def test_a_key_is_good_in_its_networks_only(store: KeyStore) -> None:
    store.add("anna", terms=Terms(networks=("192.168.1.0/24", "fd00::/8")))
    store.add("bert")
    anna, bert = store.list()
    for address, good in (
        ("192.168.1.7", True),
        ("::ffff:192.168.1.7", True),
        ("fd00::1%eth0", True),
        ("192.168.2.7", False),
        ("127.0.0.1", False),
        ("", False),
    ):
        assert store.table.admits(anna, address) is good
        assert store.table.admits(bert, address)


@pytest.mark.parametrize(
    ("models", "qwen", "other"),
    [
        ((), True, True),
        (("qwen3-4b",), True, False),
        (("qwen*",), True, False),
        (("small",), True, False),
        (("Maker/*",), True, False),
        (("s*2",), False, True),
        (("*",), True, True),
        (("QWEN*", "qwen"), False, False),
        (("qwen3-4b|smollm2",), False, False),
    ],
)
def test_models_are_named_by_key_alias_or_pattern(
    store: KeyStore, models: tuple[str, ...], qwen: bool, other: bool
) -> None:
    store.add("anna", terms=Terms(models=models))
    admission = KeyAdmission(store)
    assert [admission.allows("anna", each) for each in (QWEN, OTHER)] == [qwen, other]
    assert admission.allows(None, OTHER)
    if not other:
        with pytest.raises(Forbidden, match="anna may not use the model smollm2") as refused:
            admission.check("anna", OTHER, "smollm2")
        assert models[0] in refused.value.message


def test_a_key_that_is_gone_may_nothing(store: KeyStore) -> None:
    store.add("anna")
    admission = KeyAdmission(store)
    admission.check("anna", QWEN, None)
    admission.recognise("anna")
    store.revoke("anna")
    for asking in (lambda: admission.check("anna", QWEN, None), lambda: admission.admit("anna", "r1", lambda: None)):
        with pytest.raises(Unauthorized):
            asking()
    with pytest.raises(Unauthorized):
        admission.recognise("anna")
    assert not admission.allows("anna", QWEN)


@pytest.mark.req("F-154")
def test_an_old_key_is_good_for_the_time_it_was_given(store: KeyStore, time: Time) -> None:
    first = store.add("anna", {KeyScope.INFERENCE})
    second = store.rotate("anna", grace=600)
    found = store.verify(first)
    assert found is not None
    assert (found.name, found.scopes, found.digest) == ("anna", {KeyScope.INFERENCE}, digest_of(first))
    assert store.verify(second) is not None
    third = store.rotate("anna", grace=600)
    assert [store.verify(each) is not None for each in (first, second, third)] == [False, True, True]
    time.now += 600
    assert [store.verify(each) is not None for each in (second, third)] == [False, True]
    assert store.verify(store.rotate("anna")) is not None
    assert store.verify(third) is None


def test_an_old_key_does_not_outlive_its_end(store: KeyStore, time: Time) -> None:
    first = store.add("anna", terms=Terms(expires=time.wall() + 5))
    store.rotate("anna", grace=600)
    time.now += 5
    assert store.verify(first) is None


def test_the_key_of_the_settings_is_changed_there(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite3", api_key="of-the-settings-and-long")
    for change in (store.revoke, store.rotate, store.change):
        with pytest.raises(NotFound) as refused:
            change("settings")
        assert "GATEWAY_API_KEY" in (refused.value.hint or "")


def test_moments() -> None:
    assert moment("2027-01-15T08:00:00Z") == EPOCH
    assert moment("2027-01-15T09:00:00+01:00") == EPOCH
    assert moment("2027-01-15T08:00:00") == EPOCH
    assert moment("2027-01-14") == EPOCH - 8 * 3600
    with pytest.raises(ValueError, match="31-12"):
        moment("31-12-2026")


def test_the_program_that_used_a_key_is_remembered(store: KeyStore, tmp_path: Path, time: Time) -> None:
    digest = digest_of(store.add("anna"))
    store.verify_digest(digest, b"claude-cli/2.1 " + b"x" * 1000)
    time.now += 5
    store.verify_digest(digest)
    (key,) = store.list()
    assert key.last_used == time.wall()
    assert (key.user_agent or "").startswith("claude-cli/2.1")
    assert len(key.user_agent or "") == 200
    store.flush()
    assert KeyStore(tmp_path / "keys.sqlite3").list()[0].user_agent == key.user_agent
