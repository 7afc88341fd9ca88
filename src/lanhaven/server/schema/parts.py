"""What the families' descriptions are made of: schemas in a few words, and operations as OpenAPI 3.1 has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
ANY: Schema = {"type": "object", "additionalProperties": True}
EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
FORM = "multipart/form-data"


def ref(name: str) -> Schema:
    """The schema of this name in `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def listing(item: Schema, **bounds: int) -> Schema:
    """A list."""
    return {"type": "array", "items": item, **bounds}


def record(properties: Mapping[str, Schema], *required: str) -> Schema:
    """An object; it may have other fields too."""
    body: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": True}
    return body | ({"required": list(required)} if required else {})


def form(properties: Mapping[str, Schema], *required: str) -> Schema:
    """The fields of a form; no others are told of: generators cannot write forms that are open."""
    closed = record(properties, *required)
    del closed["additionalProperties"]
    return closed


def whole_record(properties: Mapping[str, Schema]) -> Schema:
    """An object that always has all these fields."""
    return record(properties, *properties)


def either(*choices: Schema) -> Schema:
    """One of several."""
    return {"anyOf": list(choices)}


def nullable(schema: Schema) -> Schema:
    """This, or null."""
    return either(schema, NULL)


def number(low: float, high: float, description: str = "") -> Schema:
    """Both bounds included."""
    return told({"type": "number", "minimum": low, "maximum": high}, description)


def whole(low: int, high: int, description: str = "") -> Schema:
    """Both bounds included."""
    return told({"type": "integer", "minimum": low, "maximum": high}, description)


def word(*words: str) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": [*words]}


def told(schema: Schema, description: str) -> Schema:
    """With a description."""
    return schema | ({"description": description} if description else {})


def query(name: str, schema: Schema, description: str) -> Schema:
    """A parameter of the query that may be left out."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def path_id(description: str) -> Schema:
    """The `{id}` that a path ends in."""
    return {"name": "id", "in": "path", "required": True, "schema": TEXT, "description": description}


MODEL_NAME = path_id("A model key, an alias, or the identifier of an instance.")


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed reply: the schema of one event (or line), and the media type."""

    item: str
    media: str = EVENTS
    said: str = "With `stream: true`."


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: its schema by name, a body that works, and its media type."""

    schema: str
    example: Schema
    media: str = "application/json"

    def json(self) -> Schema:
        """As OpenAPI's `requestBody`."""
        return {"required": True, "content": {self.media: {"schema": ref(self.schema), "example": self.example}}}


@dataclass(frozen=True, slots=True)
class Family:
    """The operations of one API family: their tag, and the schema of their errors."""

    tag: str
    error: str

    def operation(
        self,
        name: str,
        summary: str,
        reply: str | Schema | None,
        body: Body | None = None,
        *,
        stream: Stream | None = None,
        parameters: Sequence[Schema] = (),
        description: str = "",
        status: str = "200",
    ) -> Schema:
        """One operation. name: unique, and good as the name of a method. reply: the schema of a whole reply (by name,
        or itself); None: there is none, `status` is that of the error that says so."""
        known: Schema = {"tags": [self.tag], "summary": summary, "operationId": name}
        if description:
            known["description"] = description
        if parameters:
            known["parameters"] = [*parameters]
        if body is not None:
            known["requestBody"] = body.json()
        responses: Schema = {"default": {"description": "An error.", "content": json_of(self.error)}}
        if reply is not None or stream is not None:
            responses = {status: {"description": "The answer.", "content": contents(reply, stream)}} | responses
        elif status != "200":
            responses = {status: {"description": "Always.", "content": json_of(self.error)}} | responses
        return known | {"responses": responses}


def json_of(schema: str | Schema) -> Schema:
    """OpenAPI's `content` of a JSON reply."""
    return {"application/json": {"schema": ref(schema) if isinstance(schema, str) else schema}}


def contents(reply: str | Schema | None, stream: Stream | None) -> Schema:
    """What a reply may be. `x-item-schema` is what OpenAPI 3.2 calls `itemSchema`: of one event of a stream."""
    content = json_of(reply) if reply is not None else {}
    if stream is not None:
        unit = "event's data" if stream.media == EVENTS else "line"
        told_of = f"{stream.said} Each {unit} is a JSON object: {stream.item}.".strip()
        content[stream.media] = {"schema": {"description": told_of}, "x-item-schema": ref(stream.item)}
    return content
