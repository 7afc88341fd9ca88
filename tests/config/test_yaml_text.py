from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.config.yaml_text import LARGEST_FILE, Items, Scalar, parse, plain, read_file
from lanhaven.errors import InvalidRequest

ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def told(text: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(text, "x.yaml")
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("text", ["no", "1.0", "0x10", "2026-11-21", "0123", "1_000", "on", "12:30:45", "1e3", "True"])
def test_scalars_keep_their_text(text: str) -> None:
    node = parse(f"id: {text}\n", "x.yaml").entries["id"]
    assert isinstance(node, Scalar)
    assert node.text == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("null", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("12", 12),
        ("-3", -3),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("0123", "0123"),
        (".inf", ".inf"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("''", ""),
        ("2026-11-21", "2026-11-21"),
        ("[1, a, {b: ~}]", [1, "a", {"b": None}]),
        ("|\n  12\n", "12\n"),
    ],
)
def test_plain_values_by_the_core_schema(text: str, value: object) -> None:
    got = plain(parse(f"key: {text}\n", "x.yaml").entries["key"])
    assert (type(got), got) == (type(value), value)


@pytest.mark.req("F-172")
@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' stands here and in line 1"),
        ("a:\n  b: 1\n  b: 2\n", 3, "'b' stands here and in line 2"),
        ("a: &x 1\n", 1, "anchors and aliases"),
        ("a: *x\n", 1, "anchors and aliases"),
        ("a: !!python/object:os.system x\n", 1, "tags"),
        ("a: !!str 1\n", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 3, "second document"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("just words\n", 1, "must be a mapping"),
        ("? [a, b]\n: c\n", 1, "a key must be a word"),
        ("~: c\n", 1, "a key must be a word"),
        ("a: [" + "[" * 20 + "]" * 20 + "]\n", 1, "nested deeper"),
        ("a: b: c\n", 1, "is not YAML"),
        ("a: 1\n\tb: 2\n", 2, "is not YAML"),
        ("a: 'open\n", 2, "is not YAML"),
        ("a: 1\nb: \x00\n", None, "is not YAML"),
        (ALIAS_BOMB, 1, "anchors and aliases"),
    ],
)
def test_refusals_carry_the_line(text: str, line: int | None, part: str) -> None:
    error = told(text)
    assert error.message.startswith("x.yaml:" if line is None else f"x.yaml:{line}: ")
    assert part in error.message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~\n", "\n\n"])
def test_an_empty_document_is_an_empty_mapping(text: str) -> None:
    assert parse(text, "x.yaml").entries == {}


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfport: 1\r\nhost: a\r\n")
    assert {key: plain(value) for key, value in read_file(path).entries.items()} == {"port": 1, "host": "a"}


@pytest.mark.req("F-172")
def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(FileNotFoundError):
        read_file(path)
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(InvalidRequest, match=r"^x.yaml:2: is not UTF-8"):
        read_file(path)
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(InvalidRequest, match="larger than 1 MiB"):
        read_file(path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for odd in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(InvalidRequest, match="is not a regular file"):
            read_file(odd)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t~?1.\x00\ud800\u2028", max_size=60))
def test_odd_text_is_a_table_or_a_refusal(text: str) -> None:
    try:
        table = parse(text, "x.yaml")
    except InvalidRequest:
        return
    assert all(isinstance(key, str) for key in table.entries)


words = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="\ufeff\u2028\u2029"), max_size=20
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words.filter(bool), inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(words.filter(bool), values, max_size=5))
def test_json_is_yaml(value: dict[str, Any]) -> None:
    assert plain_table(json.dumps(value, ensure_ascii=False, indent=1)) == value


def plain_table(text: str) -> dict[str, Any]:
    return {key: plain(node) for key, node in parse(text, "x.yaml").entries.items()}


def test_a_thousand_entries_are_read_with_their_lines() -> None:
    node = parse("models:\n" + "".join(f"  - id: m{i}\n    x: 1\n" for i in range(1000)), "x.yaml").entries["models"]
    assert isinstance(node, Items)
    assert [item.line for item in node.items[:3]] == [2, 4, 6]
    assert len(node.items) == 1000
