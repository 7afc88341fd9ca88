"""What a schema may be before an engine turns it into a grammar, and what no engine holds an answer to."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.tools.schemas import check_format, check_grammar, check_schema, check_tools, unenforced
from lanhaven.errors import InvalidRequest

STRING = {"type": "string"}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


TOO_MUCH = {
    "": nested(100),
    ".properties.a.enum": None,
    "root": {"type": "object", "properties": {"a": {"enum": list(range(1001))}}},
    "long": {"type": "string", "description": "x" * (64 << 10)},
    "optional": {"type": "object", "properties": {f"p{number}": STRING for number in range(501)}},
    "pattern": {"type": "string", "pattern": "^" + "(a|b)?" * 60 + "$"},
    "long pattern": {"type": "string", "pattern": "a" * 501},
    "minLength": {"type": "string", "minLength": 10**6},
    "minItems": {"type": "array", "minItems": 10**9},
    "minimum": {"type": "integer", "minimum": 5, "maximum": 3},
    "foreign": {"$ref": "https://example.org/schema.json"},
    "nowhere": {"$ref": "#/$defs/x"},
    "no number": {"$ref": "#/anyOf/²", "anyOf": [STRING]},
    "no index": {"$ref": f"#/anyOf/{'9' * 5000}", "anyOf": [STRING]},
    "circle": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "on and on": {
        "$ref": "#/$defs/0",
        "$defs": {f"{n}": {"$ref": f"#/$defs/{n + 1}"} for n in range(20)} | {"20": STRING},
    },
    "text": "object",
    "nothing": None,
}
del TOO_MUCH[".properties.a.enum"]
FINE = {
    "deep": nested(31),
    "names": {"type": "object", "properties": {f"p{number}": STRING for number in range(900)}},
    "a tree": {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}},
    "itself": {"type": "object", "properties": {"next": {"$ref": "#"}}},
    "a pointer": {"anyOf": [{"$ref": "#/anyOf/1"}, STRING]},
    "values are no schemas": {"enum": [{"$ref": "nowhere"}], "default": {"$ref": "nowhere"}},
    "anything": True,
    "empty": {},
}
FINE["names"]["required"] = [f"p{number}" for number in range(900)]  # type: ignore[index]


@pytest.mark.req("F-126", "F-127")
@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_schema_that_would_cost_too_much_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_format("response_format", {"type": "json_schema", "json_schema": {"schema": TOO_MUCH[name]}})
    assert (refused.value.param or "").startswith("response_format.json_schema.schema")
    if TOO_MUCH[name] is not None:
        tool = {"type": "function", "function": {"name": "x", "parameters": TOO_MUCH[name]}}
        with pytest.raises(InvalidRequest) as refused:
            check_tools("tools", [{}, tool])
        assert (refused.value.param or "").startswith("tools[1].function.parameters")


@pytest.mark.parametrize("name", FINE)
def test_a_schema_of_a_real_program_passes(name: str) -> None:
    check_schema(FINE[name], "schema")


@pytest.mark.req("F-126")
def test_all_tools_of_a_request_are_bounded_together() -> None:
    tools = [
        {"type": "function", "function": {"name": f"t{number}", "description": "x" * 60_000}} for number in range(20)
    ]
    check_tools("tools", tools[:10])
    too_many: list[dict[str, Any]] = [{}] * 257
    for many in (tools, too_many):
        with pytest.raises(InvalidRequest) as refused:
            check_tools("tools", many)
        assert refused.value.param == "tools"


@pytest.mark.parametrize("form", [3, {"type": "xml"}, {"type": "json_schema"}, {}])
def test_a_format_that_there_is_not(form: Any) -> None:
    with pytest.raises(InvalidRequest):
        check_format("response_format", form)


def test_grammars_are_bounded() -> None:
    check_grammar("grammar", 'root ::= "yes" | "no"')
    for grammar in (3, "x" * 70_000):
        with pytest.raises(InvalidRequest):
            check_grammar("grammar", grammar)


def test_what_no_engine_holds_an_answer_to_is_named() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "number", "minimum": 0}, "uniqueItems": True},
            "b": {"type": "string", "format": "email"},
            "c": {"type": "string", "pattern": "abc"},
            "d": {"type": "integer", "minimum": 0, "multipleOf": 2},
        },
        "not": {"required": ["x"]},
    }
    assert unenforced(schema) == ["not", "uniqueItems", "minimum", "format", "pattern", "multipleOf"]
    assert unenforced({"type": "string", "format": "date", "pattern": "^a+$", "maxLength": 3}) == []
