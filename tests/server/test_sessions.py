"""Who is signed in: one-time links, cookies, their ends and bounds. Without a server."""

from __future__ import annotations

import pytest

from lanhaven.server.cookie import cookie_name, cookie_of, set_cookie
from lanhaven.server.sessions import LIFETIME, LINK_SECONDS, MOST_LINKS, Holder, Sessions
from tests.server.doors import Clock

ANN = Holder("ann", b"a" * 32)
RUN = Holder("this run", b"r" * 32, lasting=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock, bound=3)


def test_a_link_works_once(sessions: Sessions) -> None:
    token = sessions.link(ANN)
    assert sessions.redeem(token) == ANN
    assert sessions.redeem(token) is None
    assert sessions.redeem("never-made") is None


def test_a_link_ends_with_its_time_unless_it_has_none(sessions: Sessions, clock: Clock) -> None:
    short, endless = sessions.link(ANN), sessions.link(RUN, None)
    clock.now += LINK_SECONDS
    assert sessions.redeem(short) is None
    clock.now += LIFETIME * 10
    assert sessions.redeem(endless) == RUN


def test_a_session_lasts_thirty_days(sessions: Sessions, clock: Clock) -> None:
    cookie = sessions.open(ANN)
    clock.now += LIFETIME - 1
    assert sessions.holder(cookie) == ANN
    clock.now += 1
    assert sessions.holder(cookie) is None
    assert repr(sessions) == "Sessions(0 open, 0 links)"


def test_signing_out_ends_one_session(sessions: Sessions) -> None:
    mine, other = sessions.open(ANN), sessions.open(ANN)
    sessions.close(mine)
    sessions.close("never-opened")
    assert (sessions.holder(mine), sessions.holder(other)) == (None, ANN)


def test_whoever_was_unseen_for_longest_goes_first(sessions: Sessions) -> None:
    first, second, third = (sessions.open(ANN) for _ in range(3))
    sessions.holder(first)
    sessions.open(ANN)
    assert sessions.holder(second) is None
    assert sessions.holder(first) == sessions.holder(third) == ANN
    links = [sessions.link(ANN) for _ in range(MOST_LINKS + 1)]
    assert sessions.redeem(links[0]) is None
    assert sessions.redeem(links[1]) == ANN


def test_sessions_of_lasting_keys_survive_a_restart_and_nothing_secret_is_written(clock: Clock) -> None:
    before, after = Sessions(clock), Sessions(clock)
    ann, run = before.open(ANN), before.open(RUN)
    kept = before.dump()
    assert ann.encode() not in kept
    after.restore(kept)
    assert (after.holder(ann), after.holder(run)) == (ANN, None)
    assert after.dump() == kept
    assert before.changes == 2


@pytest.mark.parametrize("kept", [b"", b"{", b"[1]", b'[["zz", "ann", "00", 1]]', b'[["00", "ann", "00", null]]'])
def test_what_is_damaged_is_told(sessions: Sessions, kept: bytes) -> None:
    with pytest.raises(ValueError):
        sessions.restore(kept)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"127.0.0.1:8002", "lanhaven_session_8002"),
        (b"[::1]:8002", "lanhaven_session_8002"),
        (b"[::1]", "lanhaven_session"),
        (b"lanhaven.local", "lanhaven_session"),
        (b"", "lanhaven_session"),
    ],
)
def test_the_cookie_is_of_one_port(host: bytes, name: str) -> None:
    assert cookie_name(host) == name


def test_the_cookie_is_found_among_others() -> None:
    cookies = b"theme=dark; lanhaven_session_8003=other; lanhaven_session_8002=mine;x"
    assert cookie_of(b"localhost:8002", cookies) == "mine"
    assert cookie_of(b"localhost", cookies) is None
    assert cookie_of(b"localhost:8002", b"lanhaven_session_8002=") is None


@pytest.mark.req("F-151")
def test_no_script_and_no_foreign_page_gets_at_the_cookie() -> None:
    line = set_cookie(b"localhost:8002", "v", secure=False)
    assert line == "lanhaven_session_8002=v; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
    assert set_cookie(b"lanhaven.local", "v", secure=True).endswith("; Secure")
