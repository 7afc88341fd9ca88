"""What a JSON schema may be, before an engine turns it into a grammar; and what engines do not hold an answer to. Pure.

Measured with llama.cpp: a choice of 6,000 values costs 46 s for 12 tokens, a pattern of 60 optional parts more than a
minute, and meanwhile nobody else's request goes on. All bounds are far above what OpenAI's own strict mode takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.wire import deeper_than, encode

MAX_BYTES = 64 << 10
MAX_TOOLS = 256
MAX_TOOLS_BYTES = 1 << 20  # of all tools of a request: to look through as many bytes as a body may have takes seconds
MAX_LEVELS = 32
MAX_VALUES = 1000  # in the enums of one schema
MAX_OPTIONAL = 500  # properties of one object that may be left out
MAX_LEAST = 1000  # minLength, minItems
MAX_PATTERN = 500  # characters
MAX_MAYBES = 20  # parts of a pattern that may be left out or repeated
MAX_ALIASES = 8  # references that point at references: to follow long rows of them took 6 s for 60 KB

_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ONES = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_INDEX = re.compile(r"[0-9]{1,9}")
_MAYBE = re.compile(r"\\.|([?*+]|\{\d*,)")
# What llama.cpp passes over without a word.
IGNORED = frozenset(
    {"not", "if", "then", "else", "patternProperties", "uniqueItems", "contains", "minContains", "maxContains"}
    | {"multipleOf", "dependentRequired", "dependentSchemas", "propertyNames", "minProperties", "maxProperties"}
)
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_BEYOND = re.compile(r"\\[1-9bBpP]|\(\?(?!:)")  # back references, borders, classes of Unicode, looking around

Schema = Mapping[str, Any]


def check_schema(schema: Any, where: str) -> None:
    """InvalidRequest names the field at `where`, and what of it is too much (F-126, F-127)."""
    if schema is True:
        return
    if not isinstance(schema, dict):
        raise _wrong(where, "must be a JSON schema")
    if deeper_than(schema, MAX_LEVELS):
        raise _wrong(where, f"is nested more than {MAX_LEVELS} levels deep")
    if len(encode(schema)) > MAX_BYTES:
        raise _wrong(where, f"is longer than {MAX_BYTES >> 10} KB")
    values = 0
    for part, at in parts_of(schema, where):
        values += _check_part(part, at)
        if "$ref" in part:
            resolve(schema, part["$ref"], at)
    if values > MAX_VALUES:
        raise _wrong(where, f"lists more than {MAX_VALUES} values in its enums")


def parts_of(schema: Any, where: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Every schema within a schema, itself first, and its path. Values (enum, default ...) are no schemas."""
    if not isinstance(schema, dict):
        return
    yield schema, where
    for name, value in schema.items():
        if name in _ONES:
            yield from parts_of(value, f"{where}.{name}")
        elif name in _LISTS and isinstance(value, list):
            for index, each in enumerate(value):
                yield from parts_of(each, f"{where}.{name}[{index}]")
        elif name in _MAPS and isinstance(value, dict):
            for key, each in value.items():
                yield from parts_of(each, f"{where}.{name}.{key}")


def _check_part(part: dict[str, Any], where: str) -> int:
    """The number of values that it lists."""
    properties, required = part.get("properties"), part.get("required")
    if isinstance(properties, dict):
        needed = set(map(str, required)) if isinstance(required, list) else set()
        if len(properties.keys() - needed) > MAX_OPTIONAL:
            raise _wrong(where, f"has more than {MAX_OPTIONAL} properties that are not required")
    for name in ("minLength", "minItems"):
        least = part.get(name)
        if isinstance(least, int | float) and least > MAX_LEAST:
            raise _wrong(f"{where}.{name}", f"must be at most {MAX_LEAST}")
    low, high = part.get("minimum"), part.get("maximum")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise _wrong(f"{where}.minimum", "is larger than maximum")
    _check_pattern(part.get("pattern"), f"{where}.pattern")
    listed = part.get("enum")
    return len(listed) if isinstance(listed, list) else 0


def _check_pattern(pattern: Any, where: str) -> None:
    if not isinstance(pattern, str):
        return
    if len(pattern) > MAX_PATTERN:
        raise _wrong(where, f"is longer than {MAX_PATTERN} characters")
    if sum(1 for each in _MAYBE.finditer(pattern) if each[1]) > MAX_MAYBES:
        raise _wrong(where, f"has more than {MAX_MAYBES} parts that may be left out or repeated")


def resolve(schema: Any, ref: Any, where: str) -> Any:
    """What a reference within a schema points at. InvalidRequest if that is nothing, or only references again."""
    for _ in range(MAX_ALIASES):
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise _wrong(f"{where}.$ref", "must point into the schema itself, such as #/$defs/NAME")
        target: Any = schema
        for step in ref.split("/")[1:]:
            target = _step(target, step.replace("~1", "/").replace("~0", "~"))
        if target is None:
            raise _wrong(f"{where}.$ref", f"{ref} points at nothing")
        if not (isinstance(target, dict) and "$ref" in target):
            return target
        ref = target["$ref"]
    raise _wrong(f"{where}.$ref", f"points at {MAX_ALIASES} references in a row, and at no schema")


def _step(value: Any, name: str) -> Any:
    match value:
        case dict():
            return value.get(name)
        case list() if _INDEX.fullmatch(name) and int(name) < len(value):
            return value[int(name)]
    return None


def unenforced(schema: Any) -> list[str]:
    """The words of a schema that llama.cpp does not hold an answer to, in their order."""
    found: dict[str, None] = {}
    for part, _ in parts_of(schema):
        found |= dict.fromkeys(name for name in part if name in IGNORED)
        if part.get("type") == "number":
            found |= dict.fromkeys(name for name in part if name in _BOUNDS)
        form, pattern = part.get("format"), part.get("pattern")
        if isinstance(form, str) and form not in _FORMATS:
            found["format"] = None
        if isinstance(pattern, str) and not _holds(pattern):
            found["pattern"] = None
    return list(found)


def _holds(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and _BEYOND.search(pattern) is None


def schema_of(form: Any) -> Any:
    """The schema of a `response_format`; None if it has none."""
    match form:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return schema
        case {"type": "json_object"}:
            return form.get("schema") or {"type": "object"}  # llama.cpp's older way
    return None


def check_format(name: str, form: Any) -> None:
    """OpenAI's `response_format`. InvalidRequest names the field."""
    match form:
        case None | {"type": "text"}:
            return
        case {"type": "json_object"}:
            check_schema(form.get("schema") or {}, f"{name}.schema")
        case {"type": "json_schema", "json_schema": dict(told)}:
            check_schema(told.get("schema"), f"{name}.json_schema.schema")
        case {"type": "json_schema"}:
            raise _wrong(f"{name}.json_schema", "must be an object with a name and a schema")
        case _:
            raise _wrong(name, "must be of the type text, json_object or json_schema")


def check_amount(tools: Sequence[Any], where: str) -> None:
    """How many tools, and how much there is to read about them. InvalidRequest names the field."""
    if len(tools) > MAX_TOOLS:
        raise _wrong(where, f"may hold at most {MAX_TOOLS} tools")
    if len(encode(tools)) > MAX_TOOLS_BYTES:
        raise _wrong(where, f"is longer than {MAX_TOOLS_BYTES >> 10} KB")


def check_tools(name: str, tools: Sequence[Any]) -> None:
    """OpenAI's `tools` and their parameters. InvalidRequest names the field."""
    check_amount(tools, name)
    for index, tool in enumerate(tools):
        match tool:
            case {"function": {"parameters": parameters}} if parameters is not None:
                check_schema(parameters, f"{name}[{index}].function.parameters")


def check_grammar(name: str, grammar: Any) -> None:
    """llama.cpp's `grammar`. InvalidRequest names the field."""
    if grammar is not None and (not isinstance(grammar, str) or len(grammar) > MAX_BYTES):
        raise _wrong(name, f"must be a text of at most {MAX_BYTES >> 10} KB")


def _wrong(where: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{where} {why}.", param=where, retry=False)
