"""The dialect of docs/new-dialect.md: taken out of the document, put into a whole house, and its own tests run."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from lanhaven import dialects
from tests.docs.blocks import ROOT, blocks_in

pytestmark = pytest.mark.anyio
DOCUMENT = ROOT / "docs" / "new-dialect.md"
SOURCE, TESTS = (
    block.text for block in blocks_in(DOCUMENT.read_text(encoding="utf-8"), DOCUMENT.name) if block.language == "python"
)


def module(path: Path, text: str) -> ModuleType:
    path.write_text(text, encoding="utf-8")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("name", re.findall(r"^async def (test_\w+)", TESTS, re.MULTILINE))
async def test_its_own_tests_pass(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telegraph = module(tmp_path / "telegraph.py", SOURCE)
    monkeypatch.setattr(dialects, "FACTORIES", (*dialects.FACTORIES, telegraph.TelegraphDialect.create))
    await vars(module(tmp_path / "telegraph_tests.py", TESTS))[name](tmp_path)
