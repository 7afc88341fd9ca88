"""Coming in by a link or a key, as whom, and how it ends; and that no foreign page acts by it. On a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
import websockets

from lanhaven.events import InferenceStart
from lanhaven.keys.store import KeyScope, KeyStore
from lanhaven.server.compose import compose
from tests.serving import MODELS, House, serving, settings_for

pytestmark = pytest.mark.anyio

TOKEN = "the-token-of-this-run-0123456789"
CHAT = {"model": "alpha", "messages": [{"role": "user", "content": "hello"}]}


class Browser:
    """A visitor without a key of its own, with a cookie jar, whose requests come from the server's own page."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.http = httpx2.AsyncClient(base_url=house.url, trust_env=False, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers=headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        return await self.http.post(path, json=body or {}, headers={"Origin": self.house.url, **headers})

    async def open(self, link: str) -> httpx2.Response:
        return await self.get(link.removeprefix(self.house.url), Accept="text/html")

    async def who(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get("/ui/session")).json()
        return found

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask who it is until that holds: a server sees other processes' changes of keys within a second."""
        async with asyncio.timeout(60):
            while not condition(found := await self.who()):
                continue
        return found


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    """What `lanhaven keys` works on, while the server runs too."""
    return KeyStore.from_settings(settings_for(tmp_path, {}, MODELS))


@pytest.fixture
def secrets(keys: KeyStore) -> dict[str, str]:
    """A key for each scope, and ann's, which is good for everything."""
    return {each.value: keys.add(each.value, {each}) for each in KeyScope} | {"ann": keys.add("ann")}


@pytest.fixture
async def house(tmp_path: Path, secrets: dict[str, str]) -> AsyncIterator[House]:
    async with serving(tmp_path, token=TOKEN) as house:
        house.http.headers["X-API-Key"] = TOKEN
        yield house


@pytest.fixture
async def browser(house: House) -> AsyncIterator[Browser]:
    async with Browser(house) as browser:
        yield browser


async def link(house: House) -> str:
    reply = await house.http.post("/ui/link", json={})
    assert reply.status_code == 200
    url: str = reply.json()["url"]
    return url


# ---- by a link


async def test_a_link_signs_one_browser_in_once(house: House, browser: Browser) -> None:
    assert await browser.who() == {"signedIn": False, "keyRequired": True, "version": "0.1.0", "tls": False}
    address = await link(house)
    reply = await browser.open(address)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000" in cookie
    assert "Secure" not in cookie
    found = await browser.who()
    assert found["key"] == {"name": "this run", "scopes": ["admin", "debug", "inference"]}
    async with Browser(house) as other:
        reply = await other.open(address)
    assert (reply.status_code, reply.headers["location"]) == (303, "/#/signin?link=used")
    assert "set-cookie" not in reply.headers
    again = await browser.open(address)  # a bookmark of who is in already
    assert again.headers["location"] == "/"


async def test_with_tls_the_cookie_is_sent_encrypted_only(house: House, secrets: dict[str, str]) -> None:
    app = compose(house.services, KeyStore.from_settings(house.services.settings), TOKEN)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://localhost:8002") as http:
        reply = await http.post(
            "/ui/session", json={"key": secrets["ann"]}, headers={"Origin": "https://localhost:8002"}
        )
        assert reply.headers["set-cookie"].endswith("; Secure")
        assert (await http.get("/ui/session")).json()["tls"] is True
        address = (await http.post("/ui/link", json={}, headers={"X-API-Key": TOKEN})).json()["url"]
        assert address.startswith("https://localhost:8002/?token=")
        assert (await http.get(address)).headers["set-cookie"].endswith("; Secure")


async def test_behind_a_proxy_with_tls_too(tmp_path: Path, secrets: dict[str, str]) -> None:
    """The proxy speaks plain HTTP with us. Who is no such proxy is not believed."""
    for proxies, secure in ((["127.0.0.1/32"], True), ([], False)):
        async with serving(tmp_path, token=TOKEN, trusted_proxies=proxies) as house:
            for said, is_told in (("https", True), ("HTTPS, http", True), ("http", False), ("ftp", False), ("", False)):
                told = secure and is_told
                async with Browser(house) as browser:
                    browser.http.headers |= {"X-Forwarded-Proto": said, "X-Forwarded-For": "127.0.0.1"}
                    reply = await browser.post("/ui/session", {"key": secrets["ann"]})
                    assert reply.status_code == 204
                    assert reply.headers["set-cookie"].endswith("; Secure") is told
                    assert (await browser.who())["tls"] is told
                    address = (await browser.post("/ui/link", **{"X-API-Key": TOKEN})).json()["url"]
                    assert address.startswith("https://") is told


async def test_a_session_is_a_use_of_its_key(house: House, browser: Browser, secrets: dict[str, str]) -> None:
    async def ann() -> dict[str, Any]:
        keys = (await house.http.get("/admin/keys")).json()["keys"]
        found: dict[str, Any] = next(each for each in keys if each["name"] == "ann")
        return found

    await browser.post("/ui/session", {"key": secrets["ann"]})
    before = await ann()
    await asyncio.sleep(0.002)  # the times are in milliseconds
    assert (await browser.get("/v1/models", **{"User-Agent": "Firefox"})).status_code == 200
    after = await ann()
    assert after["lastUsed"] > before["lastUsed"]
    assert after["userAgent"] == "Firefox"


async def test_looking_at_a_link_does_not_use_it(house: House, browser: Browser) -> None:
    address = await link(house)
    assert (await browser.http.head(address)).status_code == 200
    assert (await browser.open(address)).headers["location"] == "/"


async def test_a_link_gives_no_more_than_its_maker_has(browser: Browser, secrets: dict[str, str]) -> None:
    for scope in ("inference", "debug"):
        assert (await browser.post("/ui/link", **{"X-API-Key": secrets[scope]})).status_code == 403
    made = await browser.post("/ui/link", **{"X-API-Key": secrets["admin"]})
    await browser.open(made.json()["url"])
    assert (await browser.who())["key"] == {"name": "admin", "scopes": ["admin"]}
    assert (await browser.get("/admin/models")).status_code == 200
    assert (await browser.get("/debug/status")).status_code == 403


# ---- by a key


@pytest.mark.req("F-142")
async def test_a_session_has_the_scopes_of_its_key(house: House, browser: Browser, secrets: dict[str, str]) -> None:
    secret = secrets["inference"]
    reply = await browser.post("/ui/session", {"key": f" {secret}\n"})
    assert (reply.status_code, reply.content) == (204, b"")
    assert secret not in reply.headers["set-cookie"]
    assert (await browser.who())["key"] == {"name": "inference", "scopes": ["inference"]}
    assert (await browser.post("/v1/chat/completions", CHAT)).status_code == 200
    assert house.named(InferenceStart)[-1].client == "inference"
    assert (await browser.get("/admin/models")).status_code == 403
    assert (await browser.get("/debug/status")).status_code == 403


async def test_a_key_in_a_header_comes_before_the_cookie(
    house: House, browser: Browser, secrets: dict[str, str]
) -> None:
    await browser.open(await link(house))
    reply = await browser.get("/admin/models", **{"X-API-Key": secrets["inference"]})
    assert reply.status_code == 403
    assert (await browser.get("/v1/models", Authorization="Bearer wrong")).status_code == 401


@pytest.mark.req("F-155")
async def test_guessing_at_the_sign_in_is_slowed_like_any_other(house: House, browser: Browser) -> None:
    statuses = [(await browser.post("/ui/session", {"key": f"guess {n}"})).status_code for n in range(21)]
    assert statuses == [401] * 20 + [429]
    slowed = await browser.post("/ui/session", {"key": "another"})
    assert 1 <= int(slowed.headers["retry-after"]) <= 60
    assert (await browser.get("/v1/models", **{"X-API-Key": "guess"})).status_code == 429


# ---- how it ends


@pytest.mark.req("F-154")
async def test_it_ends_with_its_key(browser: Browser, keys: KeyStore, secrets: dict[str, str]) -> None:
    await browser.post("/ui/session", {"key": secrets["ann"]})
    assert (await browser.who())["signedIn"]
    keys.revoke("ann")
    keys.add("ann")  # another one of the same name
    await browser.until(lambda found: not found["signedIn"])
    assert (await browser.get("/v1/models")).status_code == 401


async def test_signing_out(house: House, browser: Browser) -> None:
    await browser.open(await link(house))
    old = dict(browser.http.cookies)
    reply = await browser.http.request("DELETE", "/ui/session", headers={"Origin": house.url})
    assert reply.status_code == 204
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert not (await browser.who())["signedIn"]
    browser.http.cookies.update(old)
    assert not (await browser.who())["signedIn"]


async def test_sessions_of_keys_outlive_the_server_and_that_of_the_run_does_not(
    tmp_path: Path, secrets: dict[str, str]
) -> None:
    cookies = {}
    async with serving(tmp_path, token=TOKEN) as house:
        house.http.headers["X-API-Key"] = TOKEN
        async with Browser(house) as browser:
            await browser.post("/ui/session", {"key": secrets["ann"]})
            cookies["ann"] = dict(browser.http.cookies).popitem()[1]
        async with Browser(house) as browser:
            await browser.open(await link(house))
            cookies["run"] = dict(browser.http.cookies).popitem()[1]
    async with serving(tmp_path, token=TOKEN + "-of-the-next") as house:
        await house.services.restore()
        port = house.url.rpartition(":")[2]
        replies = {
            name: await house.http.get("/ui/session", headers={"Cookie": f"lanhaven_session_{port}={value}"})
            for name, value in cookies.items()
        }
    assert {name: reply.json()["signedIn"] for name, reply in replies.items()} == {"ann": True, "run": False}


async def test_without_keys_everybody_is_in_and_stays_in_when_the_first_key_is_made(
    tmp_path: Path, keys: KeyStore
) -> None:
    async with serving(tmp_path, token=TOKEN) as house, Browser(house) as browser:
        assert await browser.who() == {"signedIn": True, "keyRequired": False, "version": "0.1.0", "tls": False}
        assert (await browser.post("/ui/session", {"key": "not-needed"})).status_code == 204
        await browser.open(await link(house))
        keys.add("ann")
        found = await browser.until(lambda found: found["keyRequired"])
        assert found["key"]["name"] == "this run"
        assert (await house.http.get("/admin/models")).status_code == 401
        assert (await browser.get("/admin/models")).status_code == 200


# ---- what a foreign page may do by it: nothing

FOREIGN = ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:3000"]
WRITES = [("POST", "/v1/chat/completions"), ("POST", "/admin/models/load"), ("POST", "/api/pull"), ("DELETE", "/v1/files/x"),
          ("POST", "/ui/link"), ("DELETE", "/ui/session")]  # fmt: skip


@pytest.mark.req("F-151")
async def test_no_foreign_page_acts_by_the_cookie(house: House, browser: Browser) -> None:
    await browser.open(await link(house))
    before = len(house.events)
    for method, path in WRITES:
        for headers in (
            *({"Origin": origin} for origin in FOREIGN),
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {},
        ):
            for kind, body in (
                ("application/json", b'{"modelKey": "beta"}'),
                ("text/plain", b'{"modelKey": "beta"}'),  # fetch with mode no-cors
                ("application/x-www-form-urlencoded", b"modelKey=beta"),  # a form
            ):
                if path == "/ui/session" and "Origin" not in headers:
                    continue  # signs out whoever sends a cookie; below
                reply = await browser.http.request(
                    method, path, content=body, headers={**headers, "Content-Type": kind}
                )
                assert reply.status_code in (403, 415), (method, path, headers, kind)
    assert len(house.events) == before
    assert (await browser.who())["signedIn"]
    own = [{"Origin": house.url}, {"Sec-Fetch-Site": "same-origin"}]
    assert [(await browser.http.post("/v1/chat/completions", json=CHAT, headers=each)).status_code for each in own] == [
        200,
        200,
    ]


@pytest.mark.req("F-151")
async def test_an_image_or_a_link_of_a_foreign_page_changes_nothing(house: House, browser: Browser) -> None:
    await browser.open(await link(house))
    before = len(house.events)
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for path in ("/admin/models/load", "/admin/models/unload", "/admin/models/activate", "/debug/clear", "/ui/link"):
        reply = await browser.get(f"{path}?modelKey=beta", **foreign)
        assert reply.status_code in (404, 405)
    for path in ("/admin/models", "/debug/status"):  # reading by script: the browser withholds what has no Allow-Origin
        reply = await browser.get(path, Origin="http://localhost:3000")
        assert reply.status_code == 403
    assert len(house.events) == before


@pytest.mark.req("F-151")
async def test_a_foreign_page_signs_nobody_in(house: House, browser: Browser, secrets: dict[str, str]) -> None:
    body = {"key": secrets["ann"]}
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        reply = await browser.http.post("/ui/session", json=body, headers=headers)
        assert reply.status_code == 403
    form = {"Content-Type": "text/plain", "Origin": house.url}
    reply = await browser.http.post("/ui/session", content=b'{"key": "x"}', headers=form)
    assert reply.status_code == 415
    assert "set-cookie" not in reply.headers


@pytest.mark.req("F-141", "F-151")
async def test_no_foreign_page_opens_a_socket_by_the_cookie(house: House, browser: Browser) -> None:
    await browser.open(await link(house))
    cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    address = house.url.replace("http", "ws") + "/llm"
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(
            address, additional_headers={"Cookie": cookie}, origin="http://localhost:3000", proxy=None
        ):
            pass
