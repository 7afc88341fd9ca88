"""/admin/keys, as the dashboard uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.keys.store import FILE_NAME, KeyScope, KeyStore
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "a-key-that-is-long-enough"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path, key=KEY) as house:
        yield house


async def made(house: House, name: str, **fields: Any) -> dict[str, Any]:
    reply = await house.http.post("/admin/keys", json={"name": name, **fields})
    assert reply.status_code == 201, reply.text
    body: dict[str, Any] = reply.json()
    return body


async def listed(house: House) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (await house.http.get("/admin/keys")).json()["keys"]}


async def asks(house: House, key: str, path: str = "/v1/models") -> httpx2.Response:
    return await house.http.get(path, headers={"X-API-Key": key, "User-Agent": "curl/8"})


async def test_a_key_is_made_used_and_revoked(house: House) -> None:
    new = await made(house, "laptop")
    secret = new.pop("key")
    assert new == {
        "name": "laptop",
        "scopes": ["inference"],
        "prefix": secret[:11],
        "created": new["created"],
        "source": "file",
        "expired": False,
        "limits": {},
        "used": {"requestsPerMinute": 0, "requestsPerDay": 0, "tokensPerMinute": 0, "tokensPerDay": 0},
    }
    assert (await asks(house, secret)).status_code == 200
    body = {"messages": [{"role": "user", "content": "one two"}]}
    reply = await house.http.post("/v1/chat/completions", json=body, headers={"X-API-Key": secret})
    tokens = reply.json()["usage"]["total_tokens"]
    laptop = (await listed(house))["laptop"]
    assert laptop["used"] == {
        "requestsPerMinute": 1,
        "requestsPerDay": 1,
        "tokensPerMinute": tokens,
        "tokensPerDay": tokens,
    }
    assert laptop["lastUsed"] >= new["created"]
    assert laptop["userAgent"].startswith("python-httpx")
    text = (await house.http.get("/admin/keys")).text
    assert secret not in text
    assert (await house.http.delete("/admin/keys/laptop")).status_code == 204
    assert (await asks(house, secret)).status_code == 401
    assert "laptop" not in await listed(house)


async def test_all_fields_come_back(house: House) -> None:
    fields = {
        "scopes": ["debug", "inference"],
        "models": ["alpha", "b*"],
        "expires": "2099-12-31T12:00:00Z",
        "networks": ["127.0.0.0/8"],
        "limits": {"requestsPerMinute": 60, "tokensPerDay": 100_000},
    }
    new = await made(house, "phone", lmstudio=True, **fields)
    assert new["key"].startswith("sk-lm-")
    assert {name: new[name] for name in fields} == fields | {"expires": "2099-12-31T12:00:00.000Z"}
    assert (await asks(house, new["key"])).status_code == 200


async def test_a_change_names_what_changes_and_null_takes_away(house: House) -> None:
    await made(house, "kids", models=["alpha"], limits={"requestsPerMinute": 5, "tokensPerDay": 9}, expiresInDays=30)

    async def changed(**fields: Any) -> dict[str, Any]:
        reply = await house.http.patch("/admin/keys/kids", json=fields)
        assert reply.status_code == 200, reply.text
        body: dict[str, Any] = reply.json()
        assert body == (await listed(house))["kids"]
        return body

    assert (await changed(limits={"requestsPerMinute": 6}))["limits"] == {"requestsPerMinute": 6, "tokensPerDay": 9}
    assert (await changed(limits={"tokensPerDay": None}))["limits"] == {"requestsPerMinute": 6}
    assert (await changed(limits=None))["limits"] == {}
    after = await changed(models=None, expires=None, scopes=["inference", "debug"])
    assert "models" not in after
    assert "expires" not in after
    assert after["scopes"] == ["debug", "inference"]
    assert await changed() == after


async def test_a_rotated_key_may_stay_good_for_a_while(house: House) -> None:
    first = (await made(house, "app"))["key"]
    reply = (await house.http.post("/admin/keys/app/rotate", json={"graceSeconds": 600})).json()
    assert reply["oldKeyUntil"] > reply["created"]
    assert [(await asks(house, each)).status_code for each in (first, reply["key"])] == [200, 200]
    last = (await house.http.post("/admin/keys/app/rotate", json={})).json()["key"]
    assert [(await asks(house, each)).status_code for each in (first, reply["key"], last)] == [401, 401, 200]


async def test_nobody_takes_admin_from_his_own_key_by_accident(house: House) -> None:
    own = {"X-API-Key": (await made(house, "boss", scopes=["admin"]))["key"]}
    changes: tuple[dict[str, Any], ...] = ({"scopes": ["inference"]}, {"networks": ["10.1.2.0/24"]})
    for change in changes:
        reply = await house.http.patch("/admin/keys/boss", json=change, headers=own)
        assert (reply.status_code, reply.json()["code"]) == (409, "own_key")
        assert "lanhaven keys" in reply.json()["hint"]
    reply = await house.http.delete("/admin/keys/boss", headers=own)
    assert (reply.status_code, reply.json()["code"]) == (409, "own_key")
    after = (await listed(house))["boss"]
    assert (after["scopes"], after.get("networks")) == (["admin"], None)
    for harmless in ({"networks": ["127.0.0.0/8"]}, {"models": ["alpha"]}, {"expiresInDays": 1}):
        assert (await house.http.patch("/admin/keys/boss", json=harmless, headers=own)).status_code == 200
    assert (await house.http.delete("/admin/keys/boss?force=true", headers=own)).status_code == 204
    assert (await house.http.get("/admin/keys", headers=own)).status_code == 401


async def test_the_last_key_for_admin_stays_one(tmp_path: Path) -> None:
    async with serving(tmp_path, token="of-this-run") as house:
        async with httpx2.AsyncClient(base_url=house.url) as phone:
            phone.headers["X-API-Key"] = (await made(house, "boss", scopes=["admin"]))["key"]

            async def asked(method: str, path: str, **fields: Any) -> tuple[int, str | None]:
                reply = await phone.request(method, f"/admin/keys{path}", json=fields or None)
                return reply.status_code, reply.json().get("code") if reply.content else None

            assert await asked("POST", "", name="deputy", scopes=["admin"], expiresInDays=1) == (201, None)
            assert await asked("PATCH", "/boss", scopes=["debug"]) == (409, "last_admin_key")
            assert await asked("PATCH", "/boss", expiresInDays=30) == (409, "last_admin_key")
            assert await asked("DELETE", "/boss?force=true") == (409, "last_admin_key")
            assert await asked("PATCH", "/boss", limits={"requestsPerMinute": 600}) == (200, None)
            assert await asked("PATCH", "/deputy", expires=None) == (200, None)
            assert await asked("DELETE", "/boss") == (409, "own_key")
            assert await asked("DELETE", "/boss?force=true") == (204, None)
        KeyStore(tmp_path / "config" / FILE_NAME).change("deputy", {KeyScope.INFERENCE})  # as the command line does


async def test_who_is_at_the_machine_may_revoke_every_key(tmp_path: Path) -> None:
    async with serving(tmp_path, token="of-this-run") as house:
        await made(house, "boss", scopes=["admin"])
        this_machine = {"X-API-Key": "of-this-run"}
        assert (await house.http.delete("/admin/keys/boss", headers=this_machine)).status_code == 204


WRONG: tuple[dict[str, Any], ...] = (
    {"name": "settings"},
    {"name": "a b"},
    {"name": ""},
    {"name": "x", "scopes": []},
    {"name": "x", "scopes": ["root"]},
    {"name": "x", "models": []},
    {"name": "x", "networks": ["192.168.1.5/24"]},
    {"name": "x", "expires": "tomorrow"},
    {"name": "x", "expires": "2020-01-01"},
    {"name": "x", "expires": "2099-01-01", "expiresInDays": 3},
    {"name": "x", "limits": {"requestsPerMinute": 0}},
    {"name": "x", "limits": {"perHour": 5}},
    {"name": "x", "key": "sk-lan-of-my-choice"},
    {},
)


async def test_what_cannot_be_a_key_is_refused(house: House) -> None:
    for fields in WRONG:
        reply = await house.http.post("/admin/keys", json=fields)
        assert reply.status_code == 400, f"{fields}: {reply.text}"
        assert reply.json()["error"]
    assert list(await listed(house)) == ["settings"]


async def test_keys_that_are_not_there(house: House) -> None:
    for method, path in (("PATCH", ""), ("POST", "/rotate"), ("DELETE", "?force=true")):
        for name in ("nobody", "settings"):
            reply = await house.http.request(method, f"/admin/keys/{name}{path}", json={})
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


@pytest.mark.req("F-156")
async def test_keys_are_for_keys_with_the_scope(house: House) -> None:
    for scope in ("inference", "debug"):
        key = (await made(house, scope, scopes=[scope]))["key"]
        assert (await asks(house, key, "/admin/keys")).status_code == 403


@pytest.mark.req("F-154")
async def test_the_command_line_and_the_routes_see_each_other(house: House, tmp_path: Path) -> None:
    other = KeyStore(tmp_path / "config" / FILE_NAME)
    new = await made(house, "mine")
    assert KeyStore(tmp_path / "config" / FILE_NAME).verify(new["key"]) is not None
    theirs = other.add("theirs", {KeyScope.INFERENCE})

    while "theirs" not in await listed(house):  # within a second
        pass
    assert (await asks(house, theirs)).status_code == 200
    assert {"settings", "mine", "theirs"} == (await listed(house)).keys()


async def test_the_first_key_closes_the_door_and_its_maker_stays_in(tmp_path: Path) -> None:
    async with serving(tmp_path, token="of-this-run") as house:
        await made(house, "first")
        assert (await house.http.get("/admin/keys", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200
        house.http.cookies.clear()
        assert (await house.http.get("/admin/keys")).status_code == 401
