"""Which names, pages and paths the door takes: rebinding, CORS, cross-site requests, spellings."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest

from lanhaven.keys.store import KeyScope, KeyStore
from lanhaven.server.hosts import HostNames
from lanhaven.server.listener import running
from lanhaven.server.security import Security, SecurityPolicy
from tests.server.apps import Recorder
from tests.server.doors import KEY, bearer, door
from tests.server.raw import ask, get

pytestmark = pytest.mark.anyio


# ---- under which name


@pytest.mark.req("F-105", "F-149", "P17")
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/debug/stream", "/favicon.ico", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.localhost",
        "127.0.0.1.nip.io",
        "127.1",
        "2130706433",
        "192.168.9.9",
        "",
    ],
)
async def test_a_foreign_name_is_refused_everywhere(tmp_path: Path, host: str, method: str, path: str) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)))
    headers = [bearer(KEY), ("Origin", "https://page.example"), ("Access-Control-Request-Method", "POST")]
    reply = await house.ask(path, *headers, method=method, host=host)
    assert (reply.status, reply.json) == (403, {"error": "Host not allowed"})
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert house.scopes == []


@pytest.mark.req("F-105")
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1:8002",
        "[::1]",
        "[::1]:9",
        "[0:0::1]",
        "den.lan",
        "192.168.1.7:80",
        "[::ffff:192.168.1.7]",
    ],
)
async def test_own_names_are_answered_on_any_port(tmp_path: Path, host: str) -> None:
    house = door(tmp_path, SecurityPolicy(host_names=("den.lan",), own_addresses=(ip_interface("192.168.1.7/24").ip,)))
    assert (await house.ask("/health", host=host)).status == 200


def test_the_address_that_a_connection_came_in_on_is_ours() -> None:
    names = HostNames(())
    assert not names.allows(b"192.168.1.8", "192.168.1.7")
    assert names.allows(b"192.168.1.8", "192.168.1.8")
    assert names.allows(b"192.168.1.8", "::ffff:192.168.1.8")
    assert not names.allows(b"", "")


@pytest.mark.req("F-105", "F-141")
async def test_websockets_pass_the_same_door(tmp_path: Path) -> None:
    house = door(tmp_path)
    assert (await house.ask("/ws", kind="websocket")).status == 403
    assert (await house.ask("/ws", bearer(KEY), host="evil.example", kind="websocket")).status == 403
    assert (await house.ask("/ws", bearer(KEY), kind="websocket")).status == 200
    open_house = door(tmp_path, key=None)
    assert (await open_house.ask("/ws", ("Origin", "https://evil.example"), kind="websocket")).status == 403
    assert (await open_house.ask("/ws", ("Origin", "http://localhost:8002"), kind="websocket")).status == 200


# ---- from which page


EVIL = [
    "https://evil.example",
    "null",
    "http://localhost.evil.com",
    "http://localhost:3000",
    "https://page.example:444",
    "http://page.example",
    "https://page.example.evil.com",
]


@pytest.mark.req("F-150", "C10")
@pytest.mark.parametrize("origin", EVIL)
async def test_a_page_that_is_not_listed_reads_nothing(tmp_path: Path, origin: str) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)))
    preflight = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Private-Network", "true")]
    for method, headers in (("GET", [bearer(KEY)]), ("GET", []), ("OPTIONS", preflight)):
        reply = await house.ask("/v1/models", ("Origin", origin), *headers, method=method)
        assert reply.headers["vary"] == "Origin"
        assert not [name for name in reply.headers if name.startswith("access-control-allow")]


@pytest.mark.req("F-150", "C10")
async def test_a_listed_page_reads_answers_and_errors(tmp_path: Path) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)))
    origin = ("Origin", "https://page.example")
    for headers, status in (([bearer(KEY)], 200), ([], 401)):
        reply = await house.ask("/v1/models", origin, *headers)
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == "https://page.example"
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["vary"] == "Origin"
    reply = await house.ask("/v1/models", origin, ("Access-Control-Request-Method", "POST"), method="OPTIONS")
    assert reply.status == 204
    assert "X-API-Key" in reply.headers["access-control-allow-headers"]
    assert "DELETE" in reply.headers["access-control-allow-methods"]
    assert "content-length" not in reply.headers


@pytest.mark.req("F-150", "C10")
@pytest.mark.parametrize("names", ["content-type,user-agent", "http-referer, x-title", "x-stainless-new-in-2027"])
async def test_a_listed_page_may_send_the_headers_of_its_library(tmp_path: Path, names: str) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)))
    asks = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", names)]
    reply = await house.ask("/v1/models", ("Origin", "https://page.example"), *asks, method="OPTIONS")
    assert reply.headers["access-control-allow-headers"] == names
    reply = await house.ask("/v1/models", ("Origin", "https://evil.example"), *asks, method="OPTIONS")
    assert "access-control-allow-headers" not in reply.headers


@pytest.mark.req("F-150", "C10")
@pytest.mark.parametrize("names", ["a b", "x-" + "y" * 3000, "a:b"])
async def test_what_are_no_names_of_headers_is_not_repeated(tmp_path: Path, names: str) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)))
    asks = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", names)]
    reply = await house.ask("/v1/models", ("Origin", "https://page.example"), *asks, method="OPTIONS")
    assert reply.headers["access-control-allow-headers"] == "Content-Type, Accept, Authorization, X-API-Key"


@pytest.mark.req("F-150", "C10")
async def test_any_page_may_read_without_credentials_if_somebody_wants_that(tmp_path: Path) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("*",)), key=None)
    reply = await house.ask("/v1/models", ("Origin", "https://evil.example"))
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in reply.headers
    json = ("Content-Type", "application/json")
    assert (
        await house.ask("/admin/models/load", ("Origin", "https://evil.example"), json, method="POST")
    ).status == 403


@pytest.mark.req("F-151")
@pytest.mark.parametrize("origin", EVIL)
async def test_a_foreign_page_uses_nothing_of_a_server_without_keys(tmp_path: Path, origin: str) -> None:
    house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)), key=None)
    for path, method in (("/v1/chat/completions", "POST"), ("/debug/stream", "GET"), ("/admin/models/load", "POST")):
        reply = await house.ask(path, ("Origin", origin), ("Content-Type", "application/json"), method=method)
        assert (reply.status, reply.json) == (403, {"error": "Origin not allowed"})
    assert house.scopes == []


@pytest.mark.req("F-151")
@pytest.mark.parametrize("origin", ["http://localhost:8002", "https://localhost:8002", "https://page.example"])
async def test_own_and_listed_pages_may_act(tmp_path: Path, origin: str) -> None:
    for key in (None, KEY):
        house = door(tmp_path, SecurityPolicy(cors_origins=("https://page.example",)), key=key)
        headers = [bearer(KEY), ("Origin", origin), ("Content-Type", "application/json; charset=utf-8")]
        assert (await house.ask("/admin/models/load", *headers, method="POST")).status == 200


@pytest.mark.req("F-110", "F-151")
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""]
)
@pytest.mark.parametrize("path", ["/admin/models/load", "/v1/admin/x", "/debug/clear"])
async def test_changes_of_state_must_be_json(tmp_path: Path, path: str, kind: str | None) -> None:
    house = door(tmp_path)
    headers = [bearer(KEY), *([] if kind is None else [("Content-Type", kind)])]
    reply = await house.ask(path, *headers, method="POST")
    assert (reply.status, reply.json) == (415, {"error": "Content-Type must be application/json"})
    assert (await house.ask(path, *headers, ("Content-Length", "3"), method="PUT")).status == 415
    assert (await house.ask(path, *headers, method="DELETE")).status == 200
    assert (await house.ask(path, *headers)).status == 200


@pytest.mark.req("F-151")
@pytest.mark.parametrize("path", ["/api/pull", "/api/v1/models/load"])
async def test_other_dialects_admin_routes_take_curls_default_but_no_foreign_page(tmp_path: Path, path: str) -> None:
    house = door(tmp_path)
    headers = [bearer(KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    assert (await house.ask(path, *headers, method="POST")).status == 200
    assert (await house.ask(path, *headers, ("Origin", "https://evil.example"), method="POST")).status == 403


@pytest.mark.req("F-151")
async def test_a_foreign_page_changes_nothing_even_with_a_key(tmp_path: Path) -> None:
    house = door(tmp_path)
    headers = [bearer(KEY), ("Origin", "https://evil.example"), ("Content-Type", "application/json")]
    assert (await house.ask("/admin/models/load", *headers, method="POST")).status == 403
    assert (await house.ask("/v1/chat/completions", *headers, method="POST")).status == 200


# ---- which path


@pytest.mark.req("F-108")
@pytest.mark.parametrize(
    "raw",
    [
        "//admin/models",
        "/./admin",
        "/v1/../admin/models",
        "/v1/..",
        "/v1/.",
        "/admin//models",
        "/v1%2fadmin",
        "/%2e%2e/admin",
        "/%2e/admin",
        "/v1\\admin",
        "/v1%5Cadmin",
        "/admin%00",
        "/health%0d",
        "/%2fadmin",
        "/health%2f..%2fadmin",
        "/models%2fx",
        "/v1/%2Fmodels/x",
    ],
)
async def test_unusual_spellings_of_a_path_are_refused(tmp_path: Path, raw: str) -> None:
    app = Recorder()
    async with running(Security(app, SecurityPolicy(), KeyStore(tmp_path / "keys.sqlite3", api_key=KEY))) as url:
        for key in ("", f"X-API-Key: {KEY}"):
            assert (await ask(url, get(raw, *([key] if key else [])))).status == 400
    assert app.scopes == []


@pytest.mark.req("F-108", "F-141", "F-156")
@pytest.mark.parametrize(
    "raw",
    [
        "/%61dmin/models",
        "/admin/%6dodels",
        "/ADMIN/models",
        "/admin;x/models",
        "/admin/",
        "/admin?x=/health",
        "/health;/admin",
        "/health%20",
    ],
)
async def test_other_spellings_are_judged_by_what_the_router_sees(tmp_path: Path, raw: str) -> None:
    app = Recorder()
    keys = KeyStore(tmp_path / "keys.sqlite3")
    inference, admin = keys.add("inference", {KeyScope.INFERENCE}), keys.add("admin", {KeyScope.ADMIN})
    async with running(Security(app, SecurityPolicy(), keys)) as url:
        assert (await ask(url, get(raw))).status == 401
        replies = {
            name: (await ask(url, get(raw, f"X-API-Key: {key}"))).status
            for name, key in (("i", inference), ("a", admin))
        }
    seen = app.scopes[0]["path"]
    is_admin = seen == "/admin" or seen.startswith("/admin/")
    assert replies == ({"i": 403, "a": 200} if is_admin else {"i": 200, "a": 403})


async def test_a_model_key_with_a_slash_may_be_encoded(tmp_path: Path) -> None:
    app = Recorder()
    keys = KeyStore(tmp_path / "keys.sqlite3", api_key=KEY)
    async with running(Security(app, SecurityPolicy(), keys)) as url:
        for raw in ("/v1/models/qwen%2Fqwen3-4b", "/api/v0/models/a%2fb%2Fc"):
            assert (await ask(url, get(raw, f"X-API-Key: {KEY}"))).status == 200
        assert (await ask(url, get("/v1/models/a%2f..%2fb", f"X-API-Key: {KEY}"))).status == 400
    assert [scope["path"] for scope in app.scopes] == ["/v1/models/qwen/qwen3-4b", "/api/v0/models/a/b/c"]
