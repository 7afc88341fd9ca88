"""The code blocks of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

# Comments right before a block:
# <!-- not run: it needs a second machine -->                why it is not run
# <!-- run by: tests/docs/test_new_provider.py -->           another test runs it
# <!-- before: lanhaven load smollm2 --as long -->           a command that is run first, and that readers need not see
BLOCK = re.compile(
    r"(?P<comments>(?:^<!--[^>]+?-->\n)*)^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMENT = re.compile(r"<!-- (not run|run by|before): ([^>]+?) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """`line` is that of the opening fence. `reason`: why it is not run; None if it is. `before`: run first. `elsewhere`: the
    test that runs it."""

    document: str
    line: int
    language: str
    text: str
    reason: str | None = None
    before: str = ""
    elsewhere: str | None = None

    def __str__(self) -> str:
        return f"{self.document}:{self.line} {self.language}"


def blocks_in(text: str, document: str) -> Iterator[Block]:
    """Every fenced block of a document, in order."""
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        said = {name: " ".join(value.split()) for name, value in COMMENT.findall(found["comments"])}
        yield Block(
            document, line, found["language"], found["text"], said.get("not run"), said.get("before", ""),
            said.get("run by"),
        )  # fmt: skip


def all_blocks() -> list[Block]:
    """Those of the README and of docs/."""
    return [
        block
        for path in DOCUMENTS
        for block in blocks_in(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
