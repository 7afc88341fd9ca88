"""The dashboard's files and the address `/`: what browsers get and what programs get, on a real socket."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from lanhaven.server.page_files import read_files
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "a-key-of-the-settings"
SCRIPT = "export const many = [" + "1, " * 2_000 + "];\n"
INDEX = '<!doctype html><script type="module" src="/ui/assets/index-abc123.js"></script>\n'
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip, br"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page as the build leaves it."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text(INDEX)
    (folder / "icon.svg").write_text("<svg/>")
    (folder / ".hidden").write_text("no")
    (folder / "assets/index-abc123.js").write_text(SCRIPT)
    (folder.parent / "secret.txt").write_text("no")
    return folder


@pytest.fixture(scope="module")
async def house(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A server with a key, of which the tests here send none."""
    async with serving(tmp_path_factory.mktemp("home"), key=KEY, page=read_files(folder)) as house:
        del house.http.headers["X-API-Key"]
        yield house


async def test_a_browser_gets_the_page_without_a_key(house: House) -> None:
    reply = await house.http.get("/", headers=BROWSER)
    assert (reply.status_code, reply.text) == (200, INDEX)
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert "Accept" in reply.headers["vary"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", None])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_program_gets_a_word(house: House, method: str, accept: str | None) -> None:
    request = house.http.build_request(method, "/")
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    reply = await house.http.send(request)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text == ("LanHaven is running\n" if method == "GET" else "")
    assert reply.headers["content-length"] == "20"


async def test_hashed_files_are_kept_for_good_and_come_packed(house: House) -> None:
    path = "/ui/assets/index-abc123.js"
    packed = await house.http.get(path, headers=BROWSER)
    assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(gzip.compress(SCRIPT.encode(), mtime=0))
    assert packed.text == SCRIPT
    plain = await house.http.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == SCRIPT
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["etag"] != packed.headers["etag"]
    head = await house.http.head(path, headers=BROWSER)
    assert head.headers["content-length"] == packed.headers["content-length"]


async def test_what_the_browser_has_is_not_sent_again(house: House) -> None:
    first = await house.http.get("/", headers=BROWSER)
    again = await house.http.get("/", headers={**BROWSER, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await house.http.get("/", headers={**BROWSER, "If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.req("F-108", "F-141")
@pytest.mark.parametrize(
    "path",
    [
        "/ui", "/ui/", "/ui/index.html", "/ui/.hidden", "/ui/assets", "/ui/assets/", "/ui/assets/none.js", "/ui/%2e%2e/secret.txt",
        "/ui/assets/%2e%2e%2f%2e%2e%2fsecret.txt", "/ui/assets/..%5c..%5csecret.txt", "/ui//icon.svg",
    ],
)  # fmt: skip
async def test_there_is_nothing_but_the_files(house: House, path: str) -> None:
    reply = await house.http.get(path, headers=BROWSER)
    assert reply.status_code in (400, 401)
    assert "no" not in reply.text.split()


@pytest.mark.req("F-113")
@pytest.mark.parametrize("path", ["/ui/assets/index-abc123.js", "/redoc/redoc.standalone.js"])
async def test_files_come_whole_and_once_whatever_ranges_are_asked_for(house: House, path: str) -> None:
    identity = {"Accept-Encoding": "identity", "X-API-Key": KEY}
    whole = await house.http.get(path, headers=identity)
    ranges = "bytes=" + ",".join(f"{start}-" for start in range(1000))
    reply = await house.http.get(path, headers={**identity, "Range": ranges})
    assert (whole.status_code, reply.status_code) == (200, 200)
    assert reply.content == whole.content
    assert "multipart" not in reply.headers["content-type"]


async def test_only_reading(house: House) -> None:
    reply = await house.http.post("/ui/icon.svg", headers={"X-API-Key": KEY, "Content-Type": "application/json"})
    assert reply.status_code in (404, 405)


@pytest.mark.req("F-152", "F-153")
async def test_the_page_runs_nothing_but_its_own_files_and_in_no_frame(house: House) -> None:
    for path in ("/", "/ui/icon.svg", "/ui/assets/index-abc123.js"):
        reply = await house.http.get(path, headers=BROWSER)
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'self'",
            "img-src": "'self' data: blob:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "object-src": "'none'",
        }
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"


@pytest.mark.req("F-153")
async def test_no_answer_of_the_api_is_framed_sniffed_or_kept(house: House) -> None:
    for path in ("/health", "/v1/models", "/admin/models", "/ui/session", "/no/such"):
        reply = await house.http.get(path)
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-store"


async def test_without_a_built_page_the_browser_is_told_how_to_build_it(tmp_path: Path) -> None:
    async with serving(tmp_path, page=read_files(tmp_path / "none")) as house:
        reply = await house.http.get("/", headers=BROWSER)
        assert reply.status_code == 200
        assert "scripts/setup" in reply.text
        assert (await house.http.get("/")).text == "LanHaven is running\n"


@pytest.mark.req("S3-40")
async def test_the_old_address_of_the_page_to_try_a_model_on_leads_to_the_playground(house: House) -> None:
    reply: httpx2.Response = await house.http.get("/ai/lmstudio/demo", headers=BROWSER)
    assert (reply.status_code, reply.headers["location"]) == (307, "/#/playground")
