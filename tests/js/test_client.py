"""The JavaScript client and its mock server: their own tests, their types, and the guide's programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import lanhaven
from tests.house_process import HouseProcess
from tests.js.conftest import KEY
from tests.js.node import CLIENT, ROOT, install, run, suite

TESTS = CLIENT / "test"
DOCUMENT = Path(__file__).parent / "document"
OURS = (CLIENT / "src/index.js").as_uri()
THEIRS = (DOCUMENT / "client.mjs").as_uri()


# ---- the suites


@pytest.mark.req("S2-01", "S2-02", "S2-03", "S2-04", "S2-05", "S2-06", "S2-07", "S2-08", "S2-12", "S2-13", "S2-14",
                 "S2-17", "S2-19", "C23")  # fmt: skip
def test_the_class_of_the_guide(request: pytest.FixtureRequest) -> None:
    suite(TESTS / "client.test.js", request.node.get_closest_marker("req"))


@pytest.mark.req("S2-10", "S2-11", "S2-12", "S2-20", "S2-21")
def test_streams(request: pytest.FixtureRequest) -> None:
    suite(TESTS / "stream.test.js", request.node.get_closest_marker("req"))


@pytest.mark.req("S2-03", "S2-09", "S2-12", "S2-21")
def test_failures(request: pytest.FixtureRequest) -> None:
    suite(TESTS / "failing.test.js", request.node.get_closest_marker("req"))


@pytest.mark.req("S2-04", "S2-15", "S2-16", "S2-18", "S2-24", "S2-25", "C10")
def test_the_mock_server(request: pytest.FixtureRequest) -> None:
    suite(TESTS / "mock.test.js", request.node.get_closest_marker("req"))


def test_types_and_code_say_the_same(request: pytest.FixtureRequest) -> None:
    suite(TESTS / "drift.test.js", None)


@pytest.mark.req("S2-03", "S2-08", "S2-09", "S2-10", "S2-11", "S2-12", "S2-13", "S2-14", "S2-18", "S2-19", "S2-20",
                 "S2-21")  # fmt: skip
def test_against_a_real_server(request: pytest.FixtureRequest, keyed: HouseProcess) -> None:
    claimed = request.node.get_closest_marker("req")
    suite(TESTS / "live/lanhaven.test.js", claimed, LANHAVEN_URL=keyed.url, LANHAVEN_KEY=KEY)


@pytest.mark.timeout(240)
def test_typescript_takes_what_it_should_and_nothing_else() -> None:
    install(CLIENT)
    run("node_modules/typescript/bin/tsc", "--project", "test/types", cwd=CLIENT)


# ---- the guide's own programs


def usage(client: str, url: str) -> str:
    """The guide's example, with the client that it takes for granted and another address."""
    text = (DOCUMENT / "usage.mjs").read_text(encoding="utf-8")
    addressed = text.replace("new LMStudioClient()", f"new LMStudioClient({json.dumps(url)})")
    assert addressed != text
    return f"import {{ LMStudioClient }} from {json.dumps(client)};\n{addressed}"


def check_usage(client: str, url: str, folder: Path) -> None:
    program = folder / "usage.mjs"
    program.write_text(usage(client, url), encoding="utf-8")
    written = run(str(program), cwd=folder)
    assert "Available models: [" in written
    assert "Response: Hello, how are you?" in written
    assert written.endswith("New token:  story\nFull content so far: Tell me a story\n")


@pytest.mark.req("S2-01", "S2-10", "S2-17", "S2-18")
@pytest.mark.parametrize("client", [OURS, THEIRS], ids=["our-client", "the-guide's-client"])
def test_the_guides_example_runs_against_lanhaven(open_house: HouseProcess, tmp_path: Path, client: str) -> None:
    check_usage(client, open_house.url, tmp_path)


MOCK = """
server.start().then(async () => {
  const { LMStudioClient } = await import(CLIENT);
  const client = new LMStudioClient(server.url);
  await client.setCurrentModel((await client.fetchModels())[0].id);
  console.log((await client.sendMessage('Hello')).content, (await client.sendMessage('a b', { stream: true, onToken() {} })).content);
  await server.stop();
});
"""


@pytest.mark.req("S2-25")
@pytest.mark.parametrize("client", [OURS, THEIRS], ids=["our-client", "the-guide's-client"])
def test_the_guides_mock_server(client: str) -> None:
    given = (DOCUMENT / "mock.cjs").read_text(encoding="utf-8")
    program = given.replace("1235", "0") + MOCK.replace("CLIENT", json.dumps(client))
    assert run("-e", program, cwd=CLIENT) == "Hello a b\n"


# ---- the package


def test_what_is_packed_is_what_is_imported() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    paths = re.findall(r'"\./([^"*]+\.(?:js|d\.ts))"', json.dumps(package["exports"]))
    assert len(paths) == 4
    assert all((CLIENT / path).is_file() and path.split("/")[0] in package["files"] for path in paths)


def test_the_package_has_the_servers_version() -> None:
    assert json.loads((CLIENT / "package.json").read_text())["version"] == lanhaven.__version__


@pytest.mark.parametrize("lock", sorted(path.relative_to(ROOT).as_posix() for path in (
    CLIENT / "package-lock.json", ROOT / "tests/js/lmstudio-sdk/package-lock.json") if path.exists()))  # fmt: skip
def test_lock_files_have_hashes_and_no_addresses(lock: str) -> None:
    packages = json.loads((ROOT / lock).read_text())["packages"]
    installed = {name: each for name, each in packages.items() if name}
    assert installed
    assert [name for name, each in installed.items() if "resolved" in each or "integrity" not in each] == []
