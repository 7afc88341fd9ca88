"""The files that house rules look at, and what a rule says of one."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "src/lanhaven/server/redoc"  # other makers' files, as they came

# Walked past where git is not there to tell what belongs to the project.
_NOT_OURS = frozenset({".git", ".venv", ".tools", "node_modules", "__pycache__", "dist", "build"})


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file. `path` is relative to the project, with slashes."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> Source:
        return cls(path, text, ast.parse(text, path))

    @property
    def module(self) -> str:
        """The dotted name: `lanhaven.residency.pool`; a package has the name of its folder."""
        return self.path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: where, and what to do."""

    path: str
    line: int
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.advice}"


@cache
def python_files(folder: str) -> tuple[Source, ...]:
    """Every Python file below a folder of the project, tracked or not."""
    found = sorted(path for path in (ROOT / folder).rglob("*.py") if not _NOT_OURS & set(path.parts))
    return tuple(Source.parse(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in found)


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Path and text of every text file of ours that git tracks; of every file, where git cannot tell."""
    for path in _tracked_paths():
        if path.is_relative_to(SHIPPED):
            continue
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, or removed from the work tree


def _tracked_paths() -> list[Path]:
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return [ROOT / name for name in asked.stdout.split("\0") if name]
    return [path for path in ROOT.rglob("*") if path.is_file() and not _NOT_OURS & set(path.parts)]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute; an empty string of anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{start}.{attr}" if (start := dotted(value)) else ""
        case _:
            return ""


def imported_modules(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every absolute `import a.b` and `from a.b import c` (as `a.b.c`), also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node, f"{node.module}.{name.name}") for name in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name of what it calls, where that is a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)
