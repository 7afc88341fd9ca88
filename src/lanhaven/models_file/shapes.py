"""What JSON Schema says of the values of models.yaml: pieces that the readers carry. Pure.

The words are those of draft-07, which editors know, and patterns hold in Python and in JavaScript alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lanhaven.config.units import DURATION_SHAPE

Schema = Mapping[str, Any]

# Any scalar is text, as it is written: `id: 1.0` and `id: no` are names.
_SCALARS = ["string", "number", "boolean"]

TEXT: Schema = {"type": _SCALARS}
NAME: Schema = {
    "type": _SCALARS,
    "minLength": 1,
    "maxLength": 200,
    "pattern": r"^(?!-)(?!([Dd][Ee][Ff][Aa][Uu][Ll][Tt]|[Aa][Uu][Tt][Oo])$)(?!\s)[^\u0000-\u001f]*[^\s]$",
    "patternErrorMessage": "A name has no blank at its ends and no dash in front, and is not `default` or `auto`.",
}
WORD: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_.-]{1,64}$",
    "patternErrorMessage": "Use letters, digits, and . _ -",
}
TRUTH: Schema = {"enum": [True, False, "true", "false", "yes", "no", "on", "off"]}
DURATION: Schema = {**DURATION_SHAPE}
MAPPING: Schema = {"type": "object"}


def several(item: Schema, most: int) -> Schema:
    """A list; one value alone stands for a list of one."""
    return {"anyOf": [item, {"type": "array", "items": item, "maxItems": most}]}


def record(fields: Mapping[str, Schema], spellings: Mapping[str, Sequence[str]]) -> Schema:
    """A mapping, or nothing. fields: by the spelling that editors propose; spellings: the others of each, which are
    right as well, but never beside it."""
    also = {name: others for name, others in spellings.items() if others}
    patterns = {f"^({'|'.join(map(re.escape, others))})$": or_nothing(fields[name]) for name, others in also.items()}
    twice = [{"type": "object", "required": [name, other]} for name, others in also.items() for other in others]
    return {
        "type": ["object", "null"],
        "properties": {name: or_nothing(schema) for name, schema in fields.items()},
        **({"patternProperties": patterns} if patterns else {}),
        "additionalProperties": False,
        **({"not": {"anyOf": twice}} if twice else {}),
    }


def or_nothing(schema: Schema) -> Schema:
    """The same, or null: a field that is there without a value is not said."""
    match schema:
        case {"type": [*kinds]}:
            return schema if "null" in kinds else {**schema, "type": [*kinds, "null"]}
        case {"type": str() as kind}:
            return {**schema, "type": [kind, "null"]}
        case {"enum": [*values]}:
            return {**schema, "enum": [*values, None]}
        case {"anyOf": [*ways]}:
            return {**schema, "anyOf": [*ways, {"type": "null"}]}
        case _:
            return schema
