"""Snippets as people paste them: run by the real libraries and by a real shell, against a server that wants a key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from lanhaven.connect.recipe import Place, Step
from lanhaven.connect.steps import snippet
from lanhaven.connect.table import find
from lanhaven.events import InferenceComplete
from tests.conformance.test_programs import environment
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = "models:\n  - {id: alpha, provider: mock, enabled: true}\n"
KEY = "sk-test-0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), MODELS, key=KEY) as house:
        yield house


def steps_of(app: str, house: House) -> Sequence[Step]:
    recipe = find(app)
    assert recipe is not None
    return recipe.steps(Place(house.url, "alpha", KEY, key_required=True))


def text_of(app: str, house: House) -> str:
    return snippet(steps_of(app, house)).text


async def run(home: Path, *words: str, stdin: str = "", programs: Path = Path("/usr/bin")) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=home, env={"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, out.decode() + err.decode()
    return out.decode()


@pytest.mark.req("S4-29")
async def test_libraries_for_python(house: House, tmp_path: Path) -> None:
    apps = ("openai-python", "anthropic-python", "lmstudio-python")
    written = await asyncio.gather(*(run(tmp_path, sys.executable, "-", stdin=text_of(app, house)) for app in apps))
    assert written == ["Say hello.\n"] * len(apps)
    assert {each.client for each in house.named(InferenceComplete)} >= {"settings"}


@pytest.mark.req("S4-29")
async def test_ollamas_library_by_its_variables(house: House, tmp_path: Path) -> None:
    program = "import ollama\nprint(ollama.generate('alpha', 'Say hello.').response)\n"
    script = f"{text_of('ollama', house)}exec {sys.executable} -c '{program.replace(chr(39), chr(34))}'\n"
    assert await run(tmp_path, "sh", "-s", stdin=script) == "Say hello.\n"


@pytest.mark.req("S4-29")
async def test_curl(house: House, tmp_path: Path) -> None:
    assert '"content":"Say hello."' in await run(tmp_path, "sh", "-s", stdin=text_of("curl", house))


@pytest.mark.req("S4-29")
@pytest.mark.timeout(280)
async def test_langchain_and_llm(house: House, tmp_path: Path) -> None:
    """In an environment of their own, where they are installed already or in seconds."""
    python = await asyncio.to_thread(environment, "frameworks")
    _, variables, asking = steps_of("llm", house)
    assert asking.text.startswith("llm -m ollama/alpha:latest ")
    chain = run(tmp_path, str(python), "-W", "ignore", "-", stdin=text_of("langchain", house))
    llm = run(tmp_path, "sh", "-s", stdin=variables.text + asking.text, programs=python.parent)
    assert await asyncio.gather(chain, llm) == ["Say hello.\n", "Why is the sky blue?\n"]
