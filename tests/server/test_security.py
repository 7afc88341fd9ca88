"""Keys at the door: who comes in with which, and what the others are told."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import GatewayError
from lanhaven.keys.store import KeyScope, KeyStore, digest_of
from lanhaven.network.addresses import (
    Gate,
)
from lanhaven.server.attempts import TooManyAttempts, WrongKeys
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import running
from lanhaven.server.security import Security, SecurityPolicy
from tests.server.apps import BODY, Recorder
from tests.server.doors import KEY, Clock, basic, bearer, door
from tests.server.raw import ask, connected, get, post

pytestmark = pytest.mark.anyio


# ---- keys


@pytest.mark.req("S0-03", "S0-04", "S0-72", "F-141", "P15")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/ui/link",
        "/v1/models",
        "/v1/chat/completions",
        "/api/tags",
        "/admin/models",
        "/debug/stream",
        "/docs",
        "/openapi.json",
        "/redoc",
        "/metrics",
        "/no/such/path",
        "/healthy",
        "/health/",
        "/health/x",
        "/v1/health",
        "/HEALTH",
        "/livez/x",
    ],
)
async def test_every_path_but_the_public_ones_needs_a_key(tmp_path: Path, path: str, method: str) -> None:
    house = door(tmp_path)
    reply = await house.ask(path, method=method)
    assert (reply.status, reply.json) == (401, {"error": "Unauthorized"})
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert house.scopes == []


@pytest.mark.req("S0-04", "S0-85")
async def test_public_paths_need_no_key(tmp_path: Path) -> None:
    house = door(tmp_path)
    schemas = ("/schema/models.json", "/schema/config.json")
    for path in ("/", "/ui/session", "/health", "/livez", "/readyz", "/favicon.ico", *schemas):
        assert (await house.ask(path)).status == 200
        assert (await house.ask(path, bearer("wrong"))).status == 200
        assert house.scopes[-1]["lanhaven.key"] is None
        assert (await house.ask(path, bearer(KEY))).status == 200
        assert house.scopes[-1]["lanhaven.key"].name == "settings"
    shell = door(tmp_path, SecurityPolicy(public_paths=frozenset({"/ui"})))
    assert (await shell.ask("/ui")).status == 200
    assert (await shell.ask("/ui/secret")).status == 401


@pytest.mark.req("S0-85")
async def test_health_can_be_made_to_need_a_key(tmp_path: Path) -> None:
    house = door(tmp_path, SecurityPolicy(health_is_public=False))
    assert (await house.ask("/health")).status == 401
    assert (await house.ask("/health", bearer(house.keys.add("probe", {KeyScope.DEBUG})))).status == 200
    assert (await house.ask("/livez")).status == 200


@pytest.mark.req("S0-03", "F-142")
@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Key", KEY)],
        [bearer(KEY)],
        [("Authorization", f"bearer   {KEY} ")],
        [basic(KEY)],
        [basic(KEY, user="")],
        [("X-API-Key", KEY), bearer("not-needed")],
        [("X-API-Key", KEY), ("X-API-Key", KEY)],
        [("X-API-Key", ""), bearer(KEY)],
    ],
    ids=str,
)
async def test_a_key_is_taken_from_either_header(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    house = door(tmp_path)
    assert (await house.ask("/v1/models", *headers)).status == 200
    assert house.scopes[0]["lanhaven.key"].name == "settings"


@pytest.mark.req("F-142", "F-143")
@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Key", "")],
        [("X-API-Key", KEY[:-1])],
        [("X-API-Key", KEY + "x")],
        [("X-API-Key", KEY.upper())],
        [("X-API-Key", "\xff\xfe")],
        [("X-API-Key", "x" * 60_000)],
        [("X-API-Key", "not-needed"), bearer(KEY)],
        [("X-API-Key", KEY), ("X-API-Key", "another")],
        [("X-API-Key", "another"), ("X-API-Key", KEY)],
        [bearer(KEY), bearer("another")],
        [bearer("")],
        [("Authorization", KEY)],
        [("Authorization", f"Digest {KEY}")],
        [("Authorization", "Basic !!!")],
        [("Authorization", "Basic " + base64.b64encode(KEY.encode()).decode())],
        [("Cookie", f"key={KEY}; X-API-Key={KEY}")],
        [("Api-Key", KEY)],
    ],
    ids=lambda headers: str(headers)[:60],
)
async def test_what_is_not_exactly_a_key_is_refused(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    house = door(tmp_path)
    reply = await house.ask("/v1/models", *headers)
    assert (reply.status, reply.json) == (401, {"error": "Unauthorized"})


@pytest.mark.req("F-142")
async def test_a_key_in_the_query_counts_for_nothing(tmp_path: Path) -> None:
    app = Recorder()
    async with running(Security(app, SecurityPolicy(), KeyStore(tmp_path / "keys.sqlite3", api_key=KEY))) as url:
        assert (await ask(url, get(f"/v1/models?key={KEY}&api_key={KEY}&X-API-Key={KEY}"))).status == 401
    assert app.scopes == []


@pytest.mark.req("F-144")
def test_only_digests_are_looked_up_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KeyStore(tmp_path / "keys.sqlite3", api_key=KEY)
    secrets = [KEY, *(store.add(name) for name in ("a", "b", "c"))]
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def watched(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    for secret in secrets:
        assert store.verify(secret) is not None
        assert store.verify("x" + secret[1:]) is None
        assert store.verify(secret[:-1] + "!") is None
    assert compared == [(digest_of(secret), digest_of(secret)) for secret in secrets]


@pytest.mark.req("C2")
async def test_a_server_without_keys_ignores_what_is_sent(tmp_path: Path) -> None:
    house = door(tmp_path, key=None)
    for headers in ([], [bearer("not-needed")], [("X-API-Key", "a"), ("X-API-Key", "a")]):
        assert (await house.ask("/admin/models", *headers)).status == 200
        assert house.scopes[-1]["lanhaven.key"] is None


@pytest.mark.req("F-154", "C2")
async def test_the_first_key_closes_the_door(tmp_path: Path) -> None:
    house = door(tmp_path, key=None)
    secret = house.keys.add("first")
    assert (await house.ask("/v1/models")).status == 401
    assert (await house.ask("/v1/models", bearer(secret))).status == 200
    house.keys.revoke("first")
    assert (await house.ask("/v1/models", bearer(secret))).status == 401
    assert (await house.ask("/v1/models")).status == 401


@pytest.mark.req("F-148")
async def test_a_server_that_others_can_reach_is_never_open(tmp_path: Path) -> None:
    house = door(tmp_path, SecurityPolicy(keyless=False), key=None, token="of-this-run")
    assert (await house.ask("/v1/models")).status == 401
    assert (await house.ask("/admin/models", bearer("of-this-run"))).status == 200


@pytest.mark.req("F-156")
@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/v1/chat/completions", "inference"),
        ("/v1/models", "inference"),
        ("/api/tags", "inference"),
        ("/administration", "inference"),
        ("/debugger", "inference"),
        ("/admin", "admin"),
        ("/admin/models", "admin"),
        ("/v1/admin/models", "admin"),
        ("/api/pull", "admin"),
        ("/api/delete", "admin"),
        ("/api/v1/models/load", "admin"),
        ("/api/v1/models/unload", "admin"),
        ("/debug/status", "debug"),
        ("/debug/stream", "debug"),
        ("/metrics", "debug"),
    ],
)
async def test_a_key_opens_what_its_scopes_say(tmp_path: Path, path: str, needed: str) -> None:
    house = door(tmp_path)
    for scope in KeyScope:
        reply = await house.ask(path, bearer(house.keys.add(scope.value, {scope})))
        assert reply.status == (200 if scope == needed else 403)
        if scope != needed:
            assert reply.json == {"error": "Forbidden"}


@pytest.mark.req("F-155")
async def test_guessing_is_slowed_for_the_guesser_alone(tmp_path: Path) -> None:
    house = door(tmp_path, SecurityPolicy(allowlist=None))
    assert (await house.ask("/v1/models", bearer(KEY), client="10.0.0.1")).status == 200
    answers = [(await house.ask("/v1/models", bearer(f"guess-{n}"), client="10.0.0.1")).status for n in range(30)]
    assert answers == [401] * 20 + [429] * 10
    fresh = house.keys.add("right-at-last")
    blocked = await house.ask("/v1/models", bearer(fresh), client="10.0.0.1")
    assert blocked.status == 429
    assert 1 <= int(blocked.headers["retry-after"]) <= 60
    assert (await house.ask("/v1/models", bearer(KEY), client="10.0.0.1")).status == 200
    assert (await house.ask("/v1/models", bearer(fresh), client="10.0.0.2")).status == 200
    assert (await house.ask("/v1/models", client="10.0.0.1")).status == 401
    house.clock.now += 61
    assert (await house.ask("/v1/models", bearer(fresh), client="10.0.0.1")).status == 200


@pytest.mark.req("F-155")
async def test_a_public_path_is_no_way_to_try_keys(tmp_path: Path) -> None:
    house = door(tmp_path)
    for n in range(25):
        await house.ask("/health", bearer(f"guess-{n}"))
    assert (await house.ask("/health", bearer(house.keys.add("one")))).status == 200
    assert house.scopes[-1]["lanhaven.key"] is None


@pytest.mark.req("F-155")
def test_the_memory_of_guessers_is_bounded() -> None:
    clock = Clock()
    wrong = WrongKeys(clock, allowed=1, bound=100)
    for n in range(1000):
        wrong.wrong(f"10.0.{n // 256}.{n % 256}")
    assert len(wrong) == 100
    with pytest.raises(TooManyAttempts):
        wrong.check("10.0.3.231", b"")
    wrong.check("10.0.0.0", b"")


# ---- answers


@pytest.mark.req("F-153")
async def test_every_answer_carries_the_security_headers_once(tmp_path: Path) -> None:
    house = door(tmp_path)
    for headers in ([], [bearer(KEY)]):
        reply = await house.ask("/v1/models", *headers)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-request-id"].startswith("req_")
    assert house.scopes[0]["lanhaven.request_id"] == reply.headers["x-request-id"]


async def test_an_answer_keeps_its_own_headers(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = ((b"cache-control", b"max-age=60"), (b"x-request-id", b"mine"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with running(Security(app, SecurityPolicy(), KeyStore(tmp_path / "keys.sqlite3"))) as url:
        headers = (await ask(url, get())).headers  # `Raw.reply` refuses headers that come twice
    assert (headers["cache-control"], headers["x-request-id"]) == ("max-age=60", "mine")


async def test_refusals_are_worded_by_whoever_knows_the_route(tmp_path: Path) -> None:
    def dialect(scope: Any, error: GatewayError, request_id: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        assert scope["path"] == "/v1/models"
        return f"{error.code} {request_id}".encode(), [(b"content-type", b"text/x-dialect")]

    house = door(tmp_path, refuse=dialect)
    reply = await house.ask("/v1/models")
    assert (reply.status, reply.headers["content-type"]) == (401, "text/x-dialect")
    assert reply.body.decode() == f"invalid_api_key {reply.headers['x-request-id']}"


# ---- through the listener


LIMITS = replace(ListenerLimits(), linger=0.2)


@pytest.mark.req("F-089", "F-109")
async def test_who_has_no_key_is_told_before_the_body_is_read(tmp_path: Path) -> None:
    app = Recorder()
    security = Security(app, SecurityPolicy(), KeyStore(tmp_path / "keys.sqlite3", api_key=KEY))
    async with running(security, LIMITS) as url, connected(url) as raw:
        await raw.send(get("/v1/chat/completions", "Content-Length: 100000000", "Expect: 100-continue", method="POST"))
        reply = await raw.reply()
        assert (reply.status, reply.headers["connection"]) == (401, "close")
        with pytest.raises(ConnectionError):
            await raw.send(b"x" * 100_000_000)
    assert app.scopes == []


@pytest.mark.req("F-147")
async def test_who_is_not_on_the_list_is_not_listened_to(tmp_path: Path) -> None:
    app = Recorder()
    security = Security(app, SecurityPolicy(), KeyStore(tmp_path / "keys.sqlite3"))
    async with running(security, LIMITS, admits=Gate((), loopback=False).admits) as url, connected(url) as raw:
        assert (await raw.reply()).status == 403
        assert await raw.ended() == b""
    assert app.scopes == []


async def test_a_whole_request_passes(tmp_path: Path) -> None:
    app = Recorder()
    security = Security(app, SecurityPolicy(), KeyStore(tmp_path / "keys.sqlite3", api_key=KEY))
    async with running(security, admits=security.admits_peer) as url:
        assert (await ask(url, post("/v1/chat/completions", b"{}", f"X-API-Key: {KEY}"))).body == BODY
        assert (await ask(url, get("/v1/models", f"X-API-Key: {KEY}", method="HEAD"))).status == 200
        assert (await ask(url, get("/v1/models", method="HEAD"))).headers["content-length"] == "24"
    assert app.bodies[0] == b"{}"
