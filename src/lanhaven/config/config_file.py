"""config.yaml: settings by name, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lanhaven.config.yaml_text import Items, Node, Scalar, Table, parse, plain, read_text, wrong

FOLDERS = frozenset(
    {"models_file", "config_dir", "data_dir", "state_dir", "cache_dir", "run_dir", "tls_cert", "tls_key"}
)


def read(path: Path) -> dict[str, tuple[Any, int]]:
    """{setting: (value, line)}: values as text, as from the environment, so that both mean the same."""
    return understood(read_text(path), path)


def understood(text: str, path: Path) -> dict[str, tuple[Any, int]]:
    """The same of the text of a file."""
    table = parse(text, path.name)
    return {name: (_value(name, node, path), table.key_lines[name]) for name, node in table.entries.items()}


def _value(name: str, node: Node, path: Path) -> Any:
    if name == "providers":
        return plain(node) or {}
    match node:
        case Scalar():
            if node.empty:
                return None
            return _beside(path, node.text) if name in FOLDERS else node.text
        case Items():
            return tuple(_text(name, item, path) for item in node.items)
        case Table():
            raise wrong(path.name, node.line, f"{name} must be one value", hint=f"write `{name}: value`", param=name)


def _text(name: str, node: Node, path: Path) -> str:
    if not isinstance(node, Scalar) or node.empty:
        raise wrong(path.name, node.line, f"{name} is a list of words", hint="write each as `- value`", param=name)
    return node.text


def _beside(path: Path, text: str) -> str:
    """A relative path in the file is relative to the file."""
    return text if text.startswith("~") else str(path.absolute().parent / text)
