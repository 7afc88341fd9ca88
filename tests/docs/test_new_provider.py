"""The provider of docs/new-provider.md: taken out of the document, installed as another package, put under the suite."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks_in
from tests.house_process import running

DOCUMENT = ROOT / "docs" / "new-provider.md"
PACKAGE = "lanhaven_parrot"
ENTRY_POINTS = "[lanhaven.providers]\n"


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return list(blocks_in(DOCUMENT.read_text(encoding="utf-8"), DOCUMENT.name))


@pytest.fixture(scope="module")
def installed(blocks: list[Block], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH, as an installer leaves it: code, and metadata with the entry point of pyproject.toml."""
    folder = tmp_path_factory.mktemp("site")
    provider, engine, tests = (block.text for block in blocks if block.language == "python")
    project = tomllib.loads(next(block.text for block in blocks if block.language == "toml"))["project"]
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").write_text(provider)
    (folder / PACKAGE / "engine.py").write_text(engine)
    (folder / "test_parrot.py").write_text(tests)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["lanhaven.providers"]
    (info / "entry_points.txt").write_text(
        ENTRY_POINTS + "".join(f"{name} = {where}\n" for name, where in points.items())
    )
    return folder


@pytest.mark.req("S4-12")
def test_it_passes_the_suite_in_a_folder_of_its_own(installed: Path) -> None:
    """With pytest as its maker runs it: none of our settings, none of our fixtures."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parrot.py"],
        cwd=installed, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, timeout=50,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_a_server_finds_it_by_its_entry_point(installed: Path, blocks: list[Block], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("polly wants a cracker")
    models = next(block.text for block in blocks if block.language == "yaml")
    models = models.replace("~/words.txt", str(words))
    with running(tmp_path, models, PYTHONPATH=str(installed)) as house:
        assert house.answer("Hello", model="polly", max_tokens=3) == "polly wants a"
        assert house.get("/health")["backends"]["parrot"]["detail"] == "1 parrots"
        with house.stream("Hello", model="polly", max_tokens=2) as stream:
            assert "wants" in "".join(stream.rest())


def test_it_is_about_as_long_as_promised(blocks: list[Block]) -> None:
    provider = next(block.text for block in blocks if block.language == "python")
    code = [line for line in provider.splitlines() if line.strip() and not line.startswith(("import", "from", '"""'))]
    assert len(code) <= 75
